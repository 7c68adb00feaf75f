/// Leaves the white space of byte-level tokens out of their offsets.
struct OffsetTrimming: Sendable {
  /// Whether the first token may begin with a space that is not in the text.
  let addsPrefixSpace: Bool

  func apply(to encoding: inout Encoding) {
    for index in encoding.offsets.indices {
      trim(&encoding.offsets[index], of: encoding.tokens[index], isFirst: index == 0)
    }
    for index in encoding.overflowing.indices { apply(to: &encoding.overflowing[index]) }
  }

  private func trim(_ offsets: inout Encoding.Offsets, of token: String, isFirst: Bool) {
    let scalars = token.unicodeScalars
    var leading = scalars.prefix(while: Self.isSpace).count
    let trailing = scalars.reversed().prefix(while: Self.isSpace).count
    if leading > 0 {
      if addsPrefixSpace && leading == 1 && (isFirst || offsets.start == 0) { leading = 0 }
      offsets.start = min(offsets.start + leading, offsets.end)
    }
    if trailing > 0 && offsets.end >= trailing {
      offsets.end = max(offsets.end - trailing, offsets.start)
    }
  }

  /// A space in the byte alphabet, or white space of its own.
  private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value == 0x120 || CharacterTable.shared.classes(of: scalar.value).contains(.space)
  }
}

/// Changes offsets only.
struct ByteLevelProcessor: PostProcessor {
  private let trimming: OffsetTrimming?

  init(_ component: ComponentReader) throws(TokenizerError) {
    let trims = try component.bool("trim_offsets", default: true)
    let addsPrefixSpace = try component.bool("add_prefix_space", default: true)
    trimming = trims ? OffsetTrimming(addsPrefixSpace: addsPrefixSpace) : nil
  }

  func addedCount(isPair: Bool) -> Int { 0 }

  func process(_ encodings: [Encoding], addSpecialTokens: Bool) -> [Encoding] {
    var result = encodings
    for index in result.indices {
      trimming?.apply(to: &result[index])
      result[index].setSequenceID(index)
    }
    return result
  }

  func process(_ ids: [Int]) -> [Int] { ids }
}
