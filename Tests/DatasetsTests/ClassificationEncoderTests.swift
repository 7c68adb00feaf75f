import Datasets
import JSONValues
import Testing
import Tokenizers

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

  /// `[CLS] A [SEP] B [SEP]`, of which a model with segments is told which is which.
  @Test func pairsHaveSegments() throws {
    let vocabulary: JSON = ["[CLS]": 0, "[SEP]": 1, "a": 2, "b": 3, "c": 4, "[UNK]": 5]
    let tokenizer = try Tokenizer(
      tokenizerJSON: [
        "added_tokens": [], "pre_tokenizer": ["type": "WhitespaceSplit"],
        "model": ["type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"],
        "post_processor": [
          "type": "BertProcessing", "cls": ["[CLS]", 0], "sep": ["[SEP]", 1],
        ],
      ], configuration: [:], chatTemplate: nil)
    let rows = try records(
      """
      {"text": "a b", "text_pair": "c", "label": 0}
      {"text": "a a a a", "text_pair": "b c", "label": 1}
      {"text": "a", "label": 1}
      """)
    func encode(_ segments: Int) throws -> [TokenizedExample] {
      try ClassificationEncoder(
        tokenizer: tokenizer, maximumLength: 7, targets: .oneClass(LabelSet(names: ["x", "y"])),
        segmentCount: segments
      ).encode(rows, file: "data").examples
    }
    let examples = try encode(2)
    #expect(
      examples.map(\.ids) == [[0, 2, 3, 1, 4, 1], [0, 2, 2, 1, 3, 4, 1], [0, 2, 1]])
    #expect(examples.map(\.tokenTypes) == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1], nil])
    #expect(try encode(0).allSatisfy { $0.tokenTypes == nil })
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
