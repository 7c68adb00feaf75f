public import Foundation
public import JSONValues

extension TokenizationDocument {
  /// Answers requests, one JSON object a line.
  ///
  /// A request has a `text`, and perhaps a `pair`, each a string or an array of words, and perhaps
  /// `add_special_tokens`, `truncation` and `padding` as in tokenizer.json, and `unit`, which is
  /// `scalars` or `bytes`. Its answer holds `ids`, `type_ids`, `tokens`, `offsets`, `word_ids`,
  /// `sequence_ids`, `special_tokens_mask`, `attention_mask` and `overflowing`, or `error`. A request
  /// with an array `decode` of ids, and perhaps `skip_special_tokens` and `stream`, is answered by
  /// `text`.
  ///
  /// - Parameters:
  ///   - data: The requests.
  ///   - file: The name of the document in errors.
  ///   - answer: Is called with each answer in turn.
  /// - Throws: `TokenizerError` naming the line and what is wrong with it.
  public func answer(
    requests data: Data, file: String = "", _ answer: (JSON) -> Void
  ) throws(TokenizerError) {
    for (index, line) in Self.lines(of: data).enumerated() {
      let json: JSON
      do {
        json = try JSON.parse(line, file: "\(file):\(index + 1)")
      } catch {
        throw .json(error)
      }
      let request = ComponentReader(json, path: "line \(index + 1)", file: file)
      answer(try self.answer(request))
    }
  }

  /// Encodes a text or a pair with everything that is known of each token.
  ///
  /// - Parameters:
  ///   - text: The text.
  ///   - pair: A second text that belongs to it.
  ///   - addSpecialTokens: Whether the post-processor's special tokens are added.
  /// - Returns: The answer to a request.
  /// - Throws: `TokenizerError`, which does not happen without a rule for cutting.
  public func encoding(
    of text: String, pair: String?, addSpecialTokens: Bool = true
  ) throws(TokenizerError) -> JSON {
    Self.json(
      try tokenizer.encoding(
        of: .text(text), pair: pair.map { .text($0) }, addSpecialTokens: addSpecialTokens))
  }

  private func answer(_ request: ComponentReader) throws(TokenizerError) -> JSON {
    if request.optional("decode") != nil {
      let ids = try Self.ids(of: request.elements("decode"))
      let skips = try request.bool("skip_special_tokens", default: false)
      guard try request.bool("stream", default: false) else {
        return ["text": .string(tokenizer.decode(ids, skipSpecialTokens: skips))]
      }
      var decoder = tokenizer.streamingDecoder(skipSpecialTokens: skips)
      var text = ids.map { decoder.append($0) }.joined()
      text += decoder.finish()
      return ["text": .string(text)]
    }
    let pair = request.optional("pair")
    let truncation = request.optional("truncation")
    let padding = request.optional("padding")
    let unit = try request.optionalString("unit") ?? "scalars"
    guard unit == "scalars" || unit == "bytes" else {
      throw request.problem("the unit \"\(unit)\" is neither scalars nor bytes")
    }
    let rules = (
      truncation: try truncation.map { item throws(TokenizerError) in try Truncation(item) },
      padding: try padding.map { item throws(TokenizerError) in try Padding(item) }
    )
    do {
      return Self.json(
        try tokenizer.encoding(
          of: try Self.input(request.required("text")),
          pair: try pair.map { item throws(TokenizerError) in try Self.input(item) },
          addSpecialTokens: try request.bool("add_special_tokens", default: true),
          truncation: rules.truncation, padding: rules.padding,
          unit: unit == "bytes" ? .bytes : .scalars))
    } catch .impossibleTruncation(let problem) {
      return ["error": .string(problem)]
    }
  }

  private static func input(_ reader: ComponentReader) throws(TokenizerError) -> TokenizerInput {
    guard reader.json.arrayValue != nil else { return .text(try reader.stringValue()) }
    var words: [String] = []
    for word in try reader.elements() { words.append(try word.stringValue()) }
    return .words(words)
  }

  /// An encoding with all its fields.
  static func json(_ encoding: Encoding) -> JSON {
    let optional = { (values: [Int?]) -> JSON in
      .array(values.map { $0.map { .integer($0) } ?? .null })
    }
    let mask = { (values: [Bool]) -> JSON in .array(values.map { .integer($0 ? 1 : 0) }) }
    return [
      "ids": .array(encoding.ids.map { .integer($0) }),
      "type_ids": .array(encoding.typeIDs.map { .integer($0) }),
      "tokens": .array(encoding.tokens.map { .string($0) }),
      "offsets": .array(encoding.offsets.map { [.integer($0.start), .integer($0.end)] }),
      "word_ids": optional(encoding.wordIDs),
      "sequence_ids": optional(encoding.sequenceIDs),
      "special_tokens_mask": mask(encoding.specialTokensMask),
      "attention_mask": mask(encoding.attentionMask),
      "overflowing": .array(encoding.overflowing.map { json($0) }),
    ]
  }
}
