public import Tokenizers

/// Turns texts into examples for a model that learns to fill in hidden tokens.
///
/// Texts get the special tokens that the tokenizer adds of its own accord. What is too long loses its
/// end. Nothing is hidden yet: see ``TokenMasking``.
public struct MaskedLMEncoder: Sendable {
  let tokenizer: Tokenizer
  let maximumLength: Int

  /// Makes an encoder.
  ///
  /// - Parameters:
  ///   - tokenizer: The model's.
  ///   - maximumLength: Most tokens of an example.
  /// - Throws: ``DatasetError/invalidOption(name:expected:actual:)`` when special tokens alone are
  ///   longer.
  public init(tokenizer: Tokenizer, maximumLength: Int) throws(DatasetError) {
    self.tokenizer = tokenizer
    self.maximumLength = maximumLength
    try SpecialTokenFrame(of: tokenizer).check(maximumLength: maximumLength)
  }

  /// Encodes records.
  ///
  /// - Parameters:
  ///   - records: Texts.
  ///   - file: For messages.
  /// - Returns: The examples, in order, and what was done to them.
  /// - Throws: ``DatasetError`` naming the line of a record that has another form.
  public func encode(
    _ records: [LocatedRecord], file: String
  ) throws -> (examples: [TokenizedExample], report: EncodingReport) {
    var report = EncodingReport()
    report.asksRows = true
    var examples: [TokenizedExample] = []
    for located in records {
      guard case .text(let text) = located.record else {
        throw DatasetError.incompatibleFormat(
          at: located.location, expected: RecordFormat.text.spelling,
          actual: located.record.format.spelling)
      }
      let encoding = try tokenizer.encoding(
        of: .text(text), truncation: Truncation(maximumLength: maximumLength))
      let ids = encoding.ids.map { Int32($0) }
      let example = TokenizedExample(
        ids: ids, aligned: Array(repeating: ignoredLabelID, count: ids.count), task: located.task)
      report.count(example, isCut: !encoding.overflowing.isEmpty, at: located.location)
      examples.append(example)
    }
    guard !examples.isEmpty else { throw DatasetError.emptyData(path: file) }
    return (examples, report)
  }

  /// How tokens are hidden.
  ///
  /// - Parameters:
  ///   - probability: Share of tokens that are chosen.
  ///   - vocabularySize: The model's; of the tokenizer's tokens those below it stand in for others.
  ///   - seed: Start of the random numbers.
  /// - Returns: The rule.
  /// - Throws: ``DatasetError/invalidOption(name:expected:actual:)`` for a share that cannot be and a
  ///   tokenizer without a mask token.
  public func masking(
    probability: Double, vocabularySize: Int, seed: UInt64
  ) throws(DatasetError) -> TokenMasking {
    guard probability > 0, probability < 1 else {
      throw .invalidOption(
        name: "mask-probability", expected: "above 0 and below 1", actual: "\(probability)")
    }
    let name = tokenizer.specialTokens.first { $0.name == "mask_token" }?.token
    guard let id = name.flatMap({ tokenizer.id(of: $0) }) else {
      throw .invalidOption(
        name: "task masked-lm",
        expected: "a tokenizer with a mask_token (tokenizer_config.json)",
        actual: "one without")
    }
    let special = tokenizer.addedTokens.filter(\.token.isSpecial).map { Int32($0.id) }
    let named = tokenizer.specialTokens.compactMap { tokenizer.id(of: $0.token) }.map { Int32($0) }
    return TokenMasking(
      probability: probability, maskID: Int32(id),
      vocabularySize: min(tokenizer.vocabularySize, vocabularySize),
      specialIDs: Set(special + named), seed: seed)
  }
}
