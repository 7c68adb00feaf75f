import Datasets
import Foundation
import Testing

@Suite("Encoding examples")
struct ExampleEncoderTests {
  private func encode(
    _ text: String, with encoder: ExampleEncoder
  ) throws -> (examples: [TokenizedExample], report: EncodingReport) {
    try encoder.encode(records(text), file: "data")
  }

  @Test("Of a prompt and its completion only the completion and the end are asked")
  func promptCompletion() throws {
    let encoder = try ExampleEncoder(tokenizer: Toy.tokenizer(), maximumLength: 64)
    let (examples, report) = try encode(#"{"prompt": "ab\n", "completion": "ok"}"#, with: encoder)
    #expect(examples.map(\.ids) == [Toy.codes("ab\n") + [Toy.ok, Toy.end]])
    #expect(examples.map(\.labels) == [Toy.ignored(3) + [Toy.ok, Toy.end]])
    #expect(report.targetCount == 2)
    #expect(report.tokenCount == 5)
    #expect(report.longest == 5)
    #expect(report.boundaryCount == 0)

    let all = try ExampleEncoder(
      tokenizer: Toy.tokenizer(), maximumLength: 64, trainsOnPrompt: true)
    let whole = try encode(#"{"prompt": "ab\n", "completion": "ok"}"#, with: all)
    #expect(whole.examples.map(\.labels) == whole.examples.map(\.ids))
    #expect(whole.report.targetCount == 4, "nothing predicts the first token")
  }

  @Test("Plain text is asked whole and ends once")
  func plainText() throws {
    let encoder = try ExampleEncoder(tokenizer: Toy.tokenizer(), maximumLength: 64)
    let (examples, _) = try encode("{\"text\": \"ab\"}\n{\"text\": \"ab</s>\"}", with: encoder)
    #expect(examples.map(\.ids) == Array(repeating: Toy.codes("ab") + [Toy.end], count: 2))
    #expect(examples.map(\.labels) == examples.map(\.ids))
  }

  @Test("The tokenizer's own special tokens come once", arguments: [false, true])
  func frame(ends: Bool) throws {
    let encoder = try ExampleEncoder(
      tokenizer: Toy.tokenizer(begins: true, ends: ends), maximumLength: 64)
    let (examples, _) = try encode(
      """
      {"prompt": "a", "completion": "b"}
      {"prompt": "<s>a", "completion": "b</s>"}
      """, with: encoder)
    let ids = [Toy.begin] + Toy.codes("ab") + [Toy.end]
    #expect(examples.map(\.ids) == [ids, ids])
    #expect(examples.map(\.labels) == Array(repeating: Toy.ignored(2) + ids[2...], count: 2))
    let text = try encode(#"{"text": "ab"}"#, with: encoder)
    #expect(text.examples.map(\.ids) == [ids])
    #expect(text.report.targetCount == 3)
  }

  @Test("A token across the border is not taught: the parts are encoded apart and counted")
  func border() throws {
    let encoder = try ExampleEncoder(tokenizer: Toy.tokenizer(), maximumLength: 64)
    let (examples, report) = try encode(
      "{\"prompt\": \"a!\", \"completion\": \"?b\"}\n{\"prompt\": \"a\", \"completion\": \"!?\"}",
      with: encoder)
    #expect(
      examples.map(\.ids) == [
        Toy.codes("a!?b") + [Toy.end], Toy.codes("a") + [Toy.exclaimedQuestion, Toy.end],
      ])
    #expect(examples.map(\.labels[1]) == [ignoredLabelID, Toy.exclaimedQuestion])
    #expect(report.boundaryCount == 1)
    #expect(report.description.contains("1 with tokens that merge prompt and answer"))
  }

  @Test("A tokenizer that treats the start of a text apart gets the whole text")
  func metaspace() throws {
    let encoder = try ExampleEncoder(
      tokenizer: Toy.tokenizer(metaspace: true), maximumLength: 64)
    let (examples, report) = try encode(#"{"prompt": "a", "completion": "b"}"#, with: encoder)
    #expect(examples.map(\.ids) == [[152] + Toy.codes("ab") + [Toy.end]])
    #expect(examples.map(\.labels) == [Toy.ignored(2) + Toy.codes("b") + [Toy.end]])
    #expect(report.boundaryCount == 0)
  }

  @Test("Instructions get their headings, and the input's only if there is one")
  func instructions() throws {
    let encoder = try ExampleEncoder(tokenizer: Toy.tokenizer(), maximumLength: 128)
    let (examples, _) = try encode(
      """
      {"instruction": "A", "input": "B", "output": "C"}
      {"instruction": "A", "input": "", "output": "C"}
      """, with: encoder)
    let prompts = [
      "### Instruction:\nA\n\n### Input:\nB\n\n### Response:\n",
      "### Instruction:\nA\n\n### Response:\n",
    ]
    #expect(examples.map(\.ids) == prompts.map { Toy.codes($0 + "C") + [Toy.end] })
    #expect(examples.map(\.targetCount) == [2, 2])
  }

  private let conversation = """
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "ok"}, \
    {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]}
    """

  @Test("In a conversation the assistant's words and their ends are asked, nothing is added")
  func conversations() throws {
    let ids =
      [Toy.start] + Toy.codes("user\na") + [Toy.end, 10, Toy.start] + Toy.codes("assistant\n")
      + [Toy.ok, Toy.end, 10, Toy.start] + Toy.codes("user\nb") + [Toy.end, 10, Toy.start]
      + Toy.codes("assistant\nc") + [Toy.end, 10]
    let encoder = try ExampleEncoder(
      tokenizer: Toy.tokenizer(begins: true, chat: Toy.chat), maximumLength: 128)
    let (examples, report) = try encode(conversation, with: encoder)
    #expect(examples.map(\.ids) == [ids])
    let asked = examples[0].labels.filter { $0 != ignoredLabelID }
    #expect(asked == [Toy.ok, Toy.end, 99, Toy.end])
    #expect(report.boundaryCount == 0)

    let marked = try ExampleEncoder(
      tokenizer: Toy.tokenizer(chat: Toy.marked), maximumLength: 128)
    let other = try encode(conversation, with: marked).examples
    #expect(other.map(\.ids) == [ids])
    #expect(
      other[0].labels.filter { $0 != ignoredLabelID } == [Toy.ok, Toy.end, 10, 99, Toy.end, 10],
      "a template that marks the newline means it")
  }

  @Test("A prompt and its completion can be a conversation, as can an instruction")
  func chatStyle() throws {
    let encoder = try ExampleEncoder(
      tokenizer: Toy.tokenizer(chat: Toy.chat), maximumLength: 128, promptStyle: .chat)
    let pairs = try encode(
      """
      {"prompt": "a", "completion": "ok"}
      {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "ok"}]}
      {"instruction": "a", "output": "ok"}
      """, with: encoder)
    #expect(pairs.examples.count == 3)
    #expect(pairs.examples.allSatisfy { $0 == pairs.examples[0] })
    #expect(pairs.report.targetCount == 6)
  }

  @Test("What is asked of a trained model is what stood before the answer in training")
  func prompts() throws {
    let lines = """
      {"prompt": "a", "completion": "ok"}
      {"prompt": "a!", "completion": "?b"}
      {"instruction": "a", "output": "ok"}
      """
    for style in ExampleEncoder.PromptStyle.allCases {
      for begins in [false, true] {
        let encoder = try ExampleEncoder(
          tokenizer: Toy.tokenizer(begins: begins, chat: Toy.chat), maximumLength: 128,
          promptStyle: style)
        let records = try records(lines)
        let examples = try encoder.encode(records, file: "data").examples
        for (record, example) in zip(records, examples) {
          let given = example.ids.prefix(example.labels.prefix { $0 == ignoredLabelID }.count)
          #expect(try encoder.promptIDs(of: record) == given.map { Int($0) })
        }
      }
    }
    #expect(try records(lines).map { ExampleEncoder.answer(of: $0.record) } == ["ok", "?b", "ok"])
    let encoder = try ExampleEncoder(tokenizer: Toy.tokenizer(chat: Toy.chat), maximumLength: 128)
    let asked = try encoder.promptIDs(of: records(conversation)[0])
    let answered = try encode(conversation, with: encoder).examples[0].ids
    #expect(asked.count == answered.count - 3)
    #expect(answered.starts(with: asked.map { Int32($0) }))
  }

  @Test("What is too long keeps its answer")
  func truncation() throws {
    let line = #"{"prompt": "abcdefghijklmnop", "completion": "0123456789"}"#
    func cut(_ length: Int, begins: Bool = false) throws -> TokenizedExample {
      let encoder = try ExampleEncoder(
        tokenizer: Toy.tokenizer(begins: begins), maximumLength: length)
      let (examples, report) = try encode(line, with: encoder)
      #expect(report.truncatedCount == 1)
      #expect(report.firstTruncated == RecordLocation(file: "data", line: 1))
      return examples[0]
    }
    let answer = Toy.codes("0123456789") + [Toy.end]
    let shorter = try cut(20)
    #expect(shorter.ids == Toy.codes("hijklmnop") + answer)
    #expect(shorter.labels == Toy.ignored(9) + answer)
    let begun = try cut(20, begins: true)
    #expect(begun.ids == [Toy.begin] + Toy.codes("ijklmnop") + answer)
    // An eighth of the prompt stays, at least one token; then the answer loses its end.
    let short = try cut(8)
    #expect(short.ids == Toy.codes("p0123456"))
    #expect(short.labels == Toy.ignored(1) + Toy.codes("0123456"))
    let tiny = try cut(2, begins: true)
    #expect(tiny.ids == Toy.codes("p0"))
    let text = try encode(
      #"{"text": "abcdef"}"#,
      with: ExampleEncoder(tokenizer: Toy.tokenizer(begins: true), maximumLength: 4))
    #expect(text.examples.map(\.ids) == [[Toy.begin] + Toy.codes("abc")])
  }

  @Test("An example of just the longest length is left alone")
  func exactLength() throws {
    let encoder = try ExampleEncoder(tokenizer: Toy.tokenizer(), maximumLength: 3)
    let (examples, report) = try encode(#"{"prompt": "a", "completion": "b"}"#, with: encoder)
    #expect(examples.map(\.ids) == [Toy.codes("ab") + [Toy.end]])
    #expect(report.truncatedCount == 0)
  }

  @Test("Samples without an answer are left out and counted; none at all is an error")
  func dropping() throws {
    let encoder = try ExampleEncoder(
      tokenizer: Toy.tokenizer(chat: Toy.chat), maximumLength: 64)
    let silent = #"{"messages": [{"role": "user", "content": "a"}]}"#
    let (examples, report) = try encode(silent + "\n{\"text\": \"ab\"}", with: encoder)
    #expect(examples.count == 1)
    #expect(report.recordCount == 2)
    #expect(report.exampleCount == 1)
    #expect(report.droppedCount == 1)
    #expect(report.firstDropped?.line == 1)
    #expect(report.description.contains("1 left out"))
    #expect(
      throws: DatasetError.nothingToTrain(
        file: "data", reason: "none of 1 examples has a token that the loss counts")
    ) { try encode(silent, with: encoder) }
  }

  @Test("A file is encoded as its records are, and unused keys are reported")
  func file() throws {
    let path = NSTemporaryDirectory() + "examples-\(UUID().uuidString).jsonl"
    defer { try? FileManager.default.removeItem(atPath: path) }
    let text = "{\"text\": \"ab\", \"id\": 1}\n{\"prompt\": \"a\", \"completion\": \"b\"}\n"
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    let encoder = try ExampleEncoder(tokenizer: Toy.tokenizer(), maximumLength: 64)
    let (examples, report) = try encoder.encode(path: path)
    #expect(examples == (try encode(text, with: encoder).examples))
    #expect(report.ignoredKeys == ["id": 1])
    #expect(
      report.description == """
        2 examples, 6 tokens, the longest 3; 4 count towards the loss (66.7 %)
        1 with the key "id", which is not used
        """)
  }

  @Test("Options and records that do not fit are refused")
  func refusals() throws {
    let plain = try Toy.tokenizer()
    let noTemplate = #expect(throws: DatasetError.self) {
      try ExampleEncoder(tokenizer: plain, maximumLength: 8, promptStyle: .chat)
    }
    #expect(noTemplate?.kind == .usage)
    #expect(throws: DatasetError.self) { try ExampleEncoder(tokenizer: plain, maximumLength: 1) }
    let encoder = try ExampleEncoder(tokenizer: plain, maximumLength: 8)
    for line in [conversation, #"{"text": "a", "label": 1}"#, #"{"source": "a", "target": "b"}"#] {
      let error = #expect(throws: DatasetError.self) { try encode(line, with: encoder) }
      #expect(error?.description.hasPrefix("data:1: ") == true)
    }
    let refusing = try ExampleEncoder(
      tokenizer: Toy.tokenizer(chat: "{{ raise_exception('no') }}"), maximumLength: 8)
    let refused = #expect(throws: DatasetError.self) { try encode(conversation, with: refusing) }
    #expect(refused?.description.contains("rejects the conversation") == true)
  }
}
