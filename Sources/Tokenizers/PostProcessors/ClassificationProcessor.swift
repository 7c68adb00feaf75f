/// BERT's frame `[CLS] A [SEP] B [SEP]`, or RoBERTa's `<s> A </s></s> B </s>` with type 0 throughout.
struct ClassificationProcessor: PostProcessor {
  private let first: (token: String, id: Int)
  private let separator: (token: String, id: Int)
  private let isRoberta: Bool
  private let trimming: OffsetTrimming?

  init(_ component: ComponentReader, isRoberta: Bool) throws(TokenizerError) {
    first = try component.required("cls").tokenAndID()
    separator = try component.required("sep").tokenAndID()
    self.isRoberta = isRoberta
    if isRoberta {
      let trims = try component.bool("trim_offsets", default: true)
      let addsPrefixSpace = try component.bool("add_prefix_space", default: true)
      trimming = trims ? OffsetTrimming(addsPrefixSpace: addsPrefixSpace) : nil
    } else {
      trimming = nil
    }
  }

  func addedCount(isPair: Bool) -> Int { isPair ? isRoberta ? 4 : 3 : 2 }

  func process(_ encodings: [Encoding], addSpecialTokens: Bool) -> [Encoding] {
    var result = encodings
    for index in result.indices {
      trimming?.apply(to: &result[index])
      if isRoberta { result[index].setTypeID(0) }
      if addSpecialTokens { result[index] = framed(result[index], index: index) }
    }
    return result
  }

  func process(_ ids: [Int]) -> [Int] { [first.id] + ids + [separator.id] }

  private func framed(_ encoding: Encoding, index: Int) -> Encoding {
    var text = encoding
    text.overflowing = []
    if isRoberta { text.setTypeID(0) }
    // What a frame comes to has no special tokens and no padding of its own.
    text.specialTokensMask = [Bool](repeating: false, count: text.count)
    text.attentionMask = [Bool](repeating: true, count: text.count)
    text.sequenceRanges = [:]
    var result = Encoding()
    if index == 0 {
      result.append(special: first, typeID: 0)
    } else if isRoberta {
      result.append(special: separator, typeID: 0)
    }
    let start = result.count
    result.append(text)
    result.sequenceRanges = [min(index, 1): start..<result.count]
    result.append(special: separator, typeID: index == 0 || isRoberta ? 0 : 1)
    result.overflowing = encoding.overflowing.map { framed($0, index: index) }
    return result
  }
}

extension Encoding {
  /// Appends a special token that stands for no text.
  mutating func append(special: (token: String, id: Int), typeID: Int) {
    append(
      id: special.id, token: special.token, offsets: .init(0, 0), wordID: nil, typeID: typeID,
      isSpecial: true)
  }
}
