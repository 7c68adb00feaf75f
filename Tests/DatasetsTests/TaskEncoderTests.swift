import Datasets
import JSONValues
import Testing
import Tokenizers

/// Records of tokens with labels, of questions and of texts as examples.
@Suite struct TaskEncoderTests {
  /// `[CLS] A [SEP] B [SEP]` over pieces of words: "##x" goes on with a word.
  private static func tokenizer() throws -> Tokenizer {
    let names =
      ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"] + ["a", "b", "c", "d", "##b", "##c", "é"]
    return try Tokenizer(
      tokenizerJSON: [
        "added_tokens": .array(
          names.prefix(5).enumerated().map {
            ["id": .integer($0.offset), "content": .string($0.element), "special": true]
          }),
        "pre_tokenizer": ["type": "WhitespaceSplit"],
        "model": [
          "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
          "max_input_chars_per_word": 20,
          "vocab": .object(
            JSONObject(names.enumerated().map { ($0.element, .integer($0.offset)) })),
        ],
        "post_processor": [
          "type": "BertProcessing", "cls": ["[CLS]", 1], "sep": ["[SEP]", 2],
        ],
      ],
      configuration: ["mask_token": "[MASK]", "pad_token": "[PAD]"], chatTemplate: nil)
  }

  @Test func theFirstTokenOfAWordHasItsLabel() throws {
    let encoder = try TokenClassificationEncoder(
      tokenizer: Self.tokenizer(), maximumLength: 7, labels: LabelSet(names: ["O", "B-x"]))
    let rows = try records(
      """
      {"tokens": ["abc", "d", "ab"], "labels": ["B-x", "O", "B-x"]}
      {"tokens": ["a", "", "b"], "labels": [1, 0, 0]}
      """)
    let (found, report) = try encoder.encode(rows, file: "data")
    #expect(
      found.map(\.example.ids) == [[1, 5, 9, 10, 8, 5, 2], [1, 5, 6, 2]])
    let none = ignoredLabelID
    #expect(
      found.map(\.example.labels) == [[none, 1, none, none, 0, 1, none], [none, 1, 0, none]])
    #expect(found.map(\.positions) == [[1, 4, 5], [1, nil, 2]])
    #expect(found.map(\.example.targetCount) == [3, 2])
    #expect(report.truncatedCount == 1)
    // A label at a row's first position counts too.
    let batch = TokenBatch(
      rows: [[TokenizedExample(ids: [5, 6], aligned: [1, none])]], paddingID: 0)
    #expect(batch.labels == [1, none])
    #expect(batch.targetCount == 1)
  }

  @Test func wrongRecordsAreNamed() throws {
    func refused(_ text: String, _ parts: String...) {
      let error = #expect(throws: DatasetError.self) { try records(text) }
      let message = error.map { "\($0)" } ?? ""
      for part in parts { #expect(message.contains(part), "\(message)") }
    }
    refused("{\"tokens\": [\"a\"], \"labels\": [1, 2]}", "data:1", "labels", "1 labels")
    refused("{\"tokens\": [\"a\"], \"labels\": [0.5]}", "labels[0]", "a class name")
    refused("{\"tokens\": \"a\", \"labels\": [0]}", "tokens", "an array")
    refused("{\"text\": \"a\", \"labels\": [0]}", "labels", "\"label\"")
    refused("{\"question\": \"a\", \"answers\": []}", "context")
    let text = "{\"question\": \"a\", \"context\": \"b c\", \"answers\": "
    refused(text + "{\"text\": [\"c\"], \"answer_start\": [1]}}", "answer_start", "found 1")
    refused(text + "{\"text\": [\"c\"], \"answer_start\": []}}", "one a text")
    refused(text + "[{\"text\": \"c\"}]}", "answers[0].answer_start")
    let good = try records(text + "[{\"text\": \"c\", \"answer_start\": 2}]}")
    #expect(
      good.map(\.record)
        == [.question("a", context: "b c", answers: [RecordAnswer(text: "c", start: 2)])])
  }

  @Test func longTextsBecomeWindowsWithTheAnswerWhereItIsWhole() throws {
    let encoder = try QuestionAnsweringEncoder(
      tokenizer: Self.tokenizer(), maximumLength: 8, stride: 2, segmentCount: 2)
    // The context's places are counted in characters, not in bytes.
    let rows = try records(
      """
      {"question": " a", "context": "é b c d ab c", "answers": {"text": ["d ab"], "answer_start": [6]}}
      {"question": "a b", "context": "c", "answers": {"text": [], "answer_start": []}}
      """)
    let (windows, report) = try encoder.encode(rows, file: "data")
    #expect(
      windows.map(\.example.ids) == [
        [1, 5, 2, 11, 6, 7, 8, 2], [1, 5, 2, 7, 8, 5, 9, 2], [1, 5, 2, 5, 9, 7, 2],
        [1, 5, 6, 2, 7, 2],
      ])
    #expect(windows.map(\.example.target) == [[0, 0], [4, 6], [0, 0], [0, 0]])
    #expect(windows.map(\.record) == [0, 0, 0, 1])
    #expect(windows[1].spans == [nil, nil, nil, 4..<5, 6..<7, 8..<9, 9..<10, nil])
    #expect(windows[1].example.tokenTypes == [0, 0, 0, 1, 1, 1, 1, 1])
    #expect("\(report)".hasPrefix("2 examples in 4 windows"))
    let error = #expect(throws: DatasetError.self) {
      try QuestionAnsweringEncoder(tokenizer: Self.tokenizer(), maximumLength: 5, stride: 2)
        .encode(rows, file: "data")
    }
    let message = error.map { "\($0)" } ?? ""
    #expect(message.contains("--stride") && message.contains("data:1"))
  }

  @Test func tokensAreHiddenByTheRule() throws {
    let tokenizer = try Self.tokenizer()
    let encoder = try MaskedLMEncoder(tokenizer: tokenizer, maximumLength: 6)
    let (examples, _) = try encoder.encode(
      records("{\"text\": \"a b c d a b c d\"}"), file: "data")
    #expect(examples.map(\.ids) == [[1, 5, 6, 7, 8, 2]])
    let rule = try encoder.masking(probability: 0.3, vocabularySize: 100, seed: 5)
    #expect(rule.maskID == 3 && rule.vocabularySize == 12)
    let long = TokenizedExample(
      ids: [1] + (0..<20000).map { Int32(5 + $0 % 4) } + [2],
      aligned: Array(repeating: -100, count: 20002))
    let hidden = rule.masked(long, number: 3, epoch: 1)
    #expect(hidden == rule.masked(long, number: 3, epoch: 1))
    #expect(hidden != rule.masked(long, number: 3, epoch: 2))
    #expect(hidden != rule.masked(long, number: 4, epoch: 1))
    let asked = hidden.labels.indices.filter { hidden.labels[$0] != ignoredLabelID }
    #expect(asked.allSatisfy { hidden.labels[$0] == long.ids[$0] && long.ids[$0] >= 5 })
    func share(_ count: Int, of total: Int) -> Double { Double(count) / Double(total) }
    #expect(abs(share(asked.count, of: 20000) - 0.3) < 0.015)
    let masked = asked.count { hidden.ids[$0] == 3 }
    let same = asked.count { hidden.ids[$0] == long.ids[$0] }
    // A random token is one of twelve, which may be the mask or the token itself.
    #expect(abs(share(masked, of: asked.count) - (0.8 + 0.1 / 12)) < 0.02)
    #expect(abs(share(same, of: asked.count) - (0.1 + 0.1 / 12)) < 0.02)
    let others = hidden.ids.indices.filter { hidden.labels[$0] == ignoredLabelID }
    #expect(others.allSatisfy { hidden.ids[$0] == long.ids[$0] })
  }

  @Test func whatIsHiddenDependsOnTheEpoch() throws {
    let rule = TokenMasking(
      probability: 0.5, maskID: 3, vocabularySize: 12, specialIDs: [1, 2], seed: 1)
    let examples = (0..<6).map { _ in
      TokenizedExample(ids: [5, 6, 7, 8, 5, 6], aligned: Array(repeating: -100, count: 6))
    }
    func stream(_ masking: TokenMasking?) -> BatchStream {
      BatchStream(
        BatchSampler(
          examples, options: BatchingOptions(batchSize: 3, shuffles: false, masking: masking),
          paddingID: 0))
    }
    var first = stream(rule)
    let groups = (0..<4).compactMap { _ in first.next()?.batches }
    #expect(Set(groups.map { $0[0].ids }).count == 4)
    // From a saved position on the same tokens are hidden.
    var again = stream(rule)
    _ = again.next()
    let saved = again.position
    var resumed = try BatchStream(
      BatchSampler(
        examples, options: BatchingOptions(batchSize: 3, shuffles: false, masking: rule),
        paddingID: 0), from: saved)
    #expect((0..<3).compactMap { _ in resumed.next()?.batches } == Array(groups.dropFirst()))
    #expect(stream(nil).position.order != saved.order)
  }
}
