import Datasets
import Testing
import Tokenizers

/// Pairs of texts as examples for an encoder and the decoder behind it.
@Suite struct Seq2SeqEncoderTests {
  private func encoder(
    begins: Bool = false, ends: Bool = true, length: Int = 64, targetLength: Int? = nil
  ) throws -> Seq2SeqEncoder {
    try Seq2SeqEncoder(
      tokenizer: Toy.tokenizer(begins: begins, ends: ends), maximumLength: length,
      maximumTargetLength: targetLength)
  }

  @Test func bothTextsGetTheTokenizersOwnSpecialTokens() throws {
    let rows = try records("{\"source\": \"ab\", \"target\": \"ok!\", \"task_id\": 3}")
    let (examples, report) = try encoder(begins: true).encode(rows, file: "data")
    let first = try #require(examples.first)
    #expect(first.ids == [Toy.begin] + Toy.codes("ab") + [Toy.end])
    #expect(first.labels == Toy.ignored(4))
    #expect(first.decoderLabels == [Toy.begin, Toy.ok, 33, Toy.end])
    #expect(first.targetCount == 4)
    #expect(first.task == 3)
    #expect(report.endlessCount == 0)
    #expect(
      "\(report)"
        == "1 examples, 8 tokens, the longest 4 to read and 4 to write; 4 count towards the loss "
        + "(50.0 %)")
  }

  @Test func whatIsWrittenEndsWhereTheTokenizerAddsNoEnd() throws {
    let rows = try records(
      "{\"source\": \"a\", \"target\": \"b\"}\n{\"source\": \"a\", \"target\": \"b</s>\"}")
    let examples = try encoder(ends: false).encode(rows, file: "data").examples
    #expect(examples.map(\.ids) == [Toy.codes("a"), Toy.codes("a")])
    #expect(
      examples.map(\.decoderLabels) == [
        Toy.codes("b") + [Toy.end], Toy.codes("b") + [Toy.end],
      ])
  }

  @Test func eachTextIsCutByALengthOfItsOwnAsTheTokenizerCuts() throws {
    let text = "{\"source\": \"abcdefgh\", \"target\": \"klmnop\"}"
    let (examples, report) = try encoder(begins: true, length: 6, targetLength: 4).encode(
      records(text), file: "data")
    #expect(report.truncatedCount == 1)
    let tokenizer = try Toy.tokenizer(begins: true, ends: true)
    func cut(_ text: String, _ length: Int) throws -> [Int32] {
      try tokenizer.encoding(of: .text(text), truncation: Truncation(maximumLength: length)).ids
        .map { Int32($0) }
    }
    #expect(examples.first?.ids == (try cut("abcdefgh", 6)))
    #expect(examples.first?.decoderLabels == (try cut("klmnop", 4)))
    // Without a length of its own what is written has that of what is read.
    let same = try encoder(length: 5).encode(records(text), file: "data").examples
    #expect(same.first?.decoderLabels == Toy.codes("klmn") + [Toy.end])
  }

  @Test func otherRecordsWithAnAnswerArePairsToo() throws {
    let text = """
      {"prompt": "q", "completion": "a"}
      {"instruction": "do", "input": "it", "output": "x"}
      {"instruction": "do", "output": "y", "system": "be"}
      """
    let found = try records(text).map { try Seq2SeqEncoder.texts(of: $0) }
    #expect(found.map(\.source) == ["q", "do\n\nit", "be\n\ndo"])
    #expect(found.map(\.target) == ["a", "x", "y"])
    let alone = try records(
      "{\"source\": \"ab\"}\n{\"source\": \"c\", \"target\": \"d\"}", allowsPromptOnly: true)
    let encoder = try encoder()
    #expect(try encoder.sourceIDs(of: alone[0]) == Toy.codes("ab").map(Int.init) + [Int(Toy.end)])
    #expect(try Seq2SeqEncoder.texts(of: alone[1]).target == "d")
  }

  @Test func wrongRecordsAndLengthsAreNamed() throws {
    func refused(_ text: String, _ parts: [String]) throws {
      let encoder = try encoder()
      let rows = try records(text)
      let error = #expect(throws: DatasetError.self) { try encoder.encode(rows, file: "data") }
      let message = error.map { "\($0)" } ?? ""
      for part in parts { #expect(message.contains(part), "\(message)") }
    }
    try refused("{\"text\": \"x\"}", ["data:1", "\"source\"", "{\"text\"}"])
    try refused(
      "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}", ["data:1", "messages"])
    try refused(
      "{\"instruction\": \"x\", \"output\": \"y\", \"history\": [[\"a\", \"b\"]]}",
      ["data:1", "history"])
    #expect(throws: DatasetError.self) { try records("{\"source\": \"x\"}") }
    #expect(throws: DatasetError.self) { try encoder(length: 1) }
    #expect(throws: DatasetError.self) { try encoder(length: 5, targetLength: 1) }
  }

  @Test func aPreviewShowsWhatIsReadAndWhatIsWritten() throws {
    let row = try #require(records("{\"source\": \"abcd\", \"target\": \"xyz\"}").first)
    let preview = try encoder(length: 4, targetLength: 3).preview(of: row)
    #expect(preview.tokens.map(\.role) == [.masked, .masked, .masked, .cut, .masked])
    #expect(preview.tokens.map(\.text) == ["a", "b", "c", "d", "</s>"])
    #expect(preview.targetTokens.map(\.role) == [.target, .target, .cut, .target])
    #expect(preview.targetTokens.map(\.label) == [120, 121, nil, Int(Toy.end)])
    #expect(preview.targetCount == 3)
    #expect(preview.maskedCount == 4)
    #expect(preview.truncation?.count == 2)
  }

  @Test func batchesHaveWhatIsWrittenBesideWhatIsRead() {
    let rows = [
      TokenizedExample(source: [1, 2, 3], decoderLabels: [8]),
      TokenizedExample(source: [4], decoderLabels: [9, 7]),
    ]
    let batch = TokenBatch(rows: rows.map { [$0] }, paddingID: 0)
    #expect(batch.ids == [1, 2, 3, 4, 0, 0])
    #expect(batch.decoderLabels == [8, ignoredLabelID, 9, 7])
    #expect(batch.decoderLength == 2)
    #expect(batch.targetCount == 3)
    #expect(batch.tokenCount == 7)
    #expect(TokenBatch(rows: [[example(3)]], paddingID: 0).decoderLabels == nil)
    // What is to be written is part of the data's fingerprint.
    var other = rows
    other[1].decoderLabels = [9, 6]
    #expect(fingerprint(of: rows) != fingerprint(of: other))
  }

  @Test func rowsOfOneLengthAreSortedByWhatIsWritten() {
    let rows = (0..<24).map { index in
      TokenizedExample(
        source: [Int32](repeating: 1, count: 4),
        decoderLabels: [Int32](repeating: 1, count: 1 + (index * 7) % 6))
    }
    let sampler = BatchSampler(
      rows, options: BatchingOptions(batchSize: 4, seed: 5), paddingID: 0)
    for batch in sampler.plan(epoch: 0).map({ sampler.batch($0) }) {
      #expect(batch.targetCount == batch.rowCount * batch.decoderLength)
    }
  }
}
