public import Tokenizers

/// Turns labelled texts into examples of which the whole row is asked.
///
/// Texts and pairs of texts get the special tokens that the tokenizer adds of its own accord. What is
/// too long loses its end, but for those; of a pair the longer text does first.
public struct ClassificationEncoder: Sendable {
  /// What is right for a row.
  public enum Targets: Equatable, Sendable {
    /// One class of several.
    case oneClass(LabelSet)
    /// Any number of classes: 1 for each that is right, else 0.
    case severalClasses(LabelSet)
    /// As many numbers.
    case numbers(Int)
  }

  let tokenizer: Tokenizer
  let maximumLength: Int
  let targets: Targets
  let segmentCount: Int

  /// Makes an encoder.
  ///
  /// - Parameters:
  ///   - tokenizer: The model's.
  ///   - maximumLength: Most tokens of an example.
  ///   - targets: What labels mean.
  ///   - segmentCount: Segments that the model tells apart; those of a pair are the tokenizer's.
  /// - Throws: ``DatasetError/invalidOption(name:expected:actual:)`` when special tokens alone are
  ///   longer.
  public init(
    tokenizer: Tokenizer, maximumLength: Int, targets: Targets, segmentCount: Int = 0
  ) throws(DatasetError) {
    self.tokenizer = tokenizer
    self.maximumLength = maximumLength
    self.targets = targets
    self.segmentCount = segmentCount
    try SpecialTokenFrame(of: tokenizer).check(maximumLength: maximumLength)
  }

  /// Encodes records.
  ///
  /// - Parameters:
  ///   - records: Texts with labels.
  ///   - file: For messages.
  /// - Returns: The examples, in order, and what was done to them.
  /// - Throws: ``DatasetError`` naming the line of a record that has another form or another label.
  public func encode(
    _ records: [LocatedRecord], file: String
  ) throws -> (examples: [TokenizedExample], report: EncodingReport) {
    var report = EncodingReport()
    report.asksRows = true
    var examples: [TokenizedExample] = []
    for located in records {
      guard case .labeled(let text, let pair, let label) = located.record else {
        throw DatasetError.incompatibleFormat(
          at: located.location, expected: RecordFormat.textLabel.spelling,
          actual: located.record.format.spelling)
      }
      let target = try target(label, at: located.location)
      let (ids, types, isCut) = try tokens(text, pair, at: located.location)
      let example = TokenizedExample(
        ids: ids, tokenTypes: types, target: target, task: located.task)
      report.count(example, isCut: isCut, at: located.location)
      examples.append(example)
    }
    guard !examples.isEmpty else { throw DatasetError.emptyData(path: file) }
    return (examples, report)
  }

  private func tokens(
    _ text: String, _ pair: String?, at place: RecordLocation
  ) throws(DatasetError) -> (ids: [Int32], types: [Int32]?, isCut: Bool) {
    let encoding: Encoding
    do {
      encoding = try tokenizer.encoding(
        of: .text(text), pair: pair.map { .text($0) },
        truncation: Truncation(maximumLength: maximumLength))
    } catch {
      throw .invalidOption(
        name: "max-length", expected: "room for the special tokens of \(place)",
        actual: "\(maximumLength)")
    }
    return (
      encoding.ids.map { Int32($0) }, encoding.segments(count: segmentCount),
      !encoding.overflowing.isEmpty
    )
  }

  private func target(
    _ label: RecordLabel, at place: RecordLocation
  ) throws(DatasetError) -> [Double] {
    switch targets {
    case .oneClass(let labels):
      return [Double(try labels.index(of: label, at: place))]
    case .severalClasses(let labels):
      var result = Array(repeating: 0.0, count: labels.names.count)
      for single in label.singles { result[try labels.index(of: single, at: place)] = 1 }
      return result
    case .numbers(let count):
      let numbers = label.singles.compactMap(\.number)
      guard numbers.count == label.singles.count, numbers.count == count else {
        throw .wrongType(
          at: place, key: "label", expected: count == 1 ? "a number" : "\(count) numbers",
          actual: label.description)
      }
      return numbers
    }
  }
}

extension RecordLabel {
  /// The label as a number to predict; nil for a name.
  public var number: Double? {
    switch self {
    case .index(let index): Double(index)
    case .value(let value): value
    case .name, .several: nil
    }
  }
}
