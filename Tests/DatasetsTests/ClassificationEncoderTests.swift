import Datasets
import Testing

/// Labelled texts as examples.
@Suite struct ClassificationEncoderTests {
  private func encode(
    _ text: String, _ targets: ClassificationEncoder.Targets, length: Int = 16
  ) throws -> (examples: [TokenizedExample], report: EncodingReport) {
    try ClassificationEncoder(
      tokenizer: Toy.tokenizer(begins: true, ends: true), maximumLength: length, targets: targets
    ).encode(records(text), file: "data")
  }

  @Test func theTokenizersFrameStaysWhereTextIsCut() throws {
    let labels = ClassificationEncoder.Targets.oneClass(LabelSet(names: ["no", "yes"]))
    let (examples, report) = try encode(
      "{\"text\": \"ab\", \"label\": \"yes\"}\n{\"text\": \"abcdef\", \"label\": 0}", labels,
      length: 5)
    #expect(
      examples.map(\.ids) == [
        [Toy.begin] + Toy.codes("ab") + [Toy.end], [Toy.begin] + Toy.codes("abc") + [Toy.end],
      ])
    #expect(examples.map(\.target) == [[1], [0]])
    #expect(examples.map(\.targetCount) == [1, 1])
    #expect(report.truncatedCount == 1)
    #expect(report.firstTruncated?.line == 2)
    #expect("\(report)".hasPrefix("2 examples, 9 tokens, the longest 5\n1 shortened"))
    #expect(throws: DatasetError.self) { try encode("{}", labels, length: 2) }
  }

  @Test func severalClassesAndNumbers() throws {
    let several = ClassificationEncoder.Targets.severalClasses(LabelSet(names: ["a", "b", "c"]))
    let text = """
      {"text": "x", "label": ["c", "a"]}
      {"text": "x", "label": []}
      {"text": "x", "label": "b"}
      """
    #expect(
      try encode(text, several).examples.map(\.target) == [[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    let numbers = "{\"text\": \"x\", \"label\": 1.5}\n{\"text\": \"x\", \"label\": -2}"
    #expect(try encode(numbers, .numbers(1)).examples.map(\.target) == [[1.5], [-2]])
    let pair = "{\"text\": \"x\", \"label\": [0.25, 3]}"
    #expect(try encode(pair, .numbers(2)).examples.map(\.target) == [[0.25, 3]])
  }

  @Test func aWrongLabelIsNamedWithItsLine() throws {
    let labels = ClassificationEncoder.Targets.oneClass(LabelSet(names: ["no", "yes"]))
    let error = #expect(throws: DatasetError.self) {
      try encode("{\"text\": \"x\", \"label\": 1}\n{\"text\": \"x\", \"label\": \"maybe\"}", labels)
    }
    let found = try #require(error)
    let text = "\(found)"
    #expect(text.contains("data:2") && text.contains("maybe") && text.contains("\"yes\""))
    #expect(throws: DatasetError.self) {
      try encode("{\"text\": \"x\", \"label\": \"a\"}", .numbers(1))
    }
    #expect(throws: DatasetError.self) { try encode("{\"text\": \"x\"}", labels) }
  }

  @Test func batchesKeepTargetsAndSegments() {
    let first = TokenizedExample(ids: [5, 6, 7], tokenTypes: [0, 0, 1], target: [2])
    let second = TokenizedExample(ids: [8], target: [0])
    let batch = TokenBatch(rows: [[first], [second]], paddingID: 9)
    #expect(batch.ids == [5, 6, 7, 8, 9, 9])
    #expect(batch.tokenTypes == [0, 0, 1, 0, 0, 0])
    #expect(batch.targets == [[2], [0]])
    #expect(batch.targetCount == 2)
    // What is right for a row is part of the data's fingerprint.
    var other = second
    other.target = [1]
    #expect(fingerprint(of: [second]) != fingerprint(of: [other]))
  }
}
