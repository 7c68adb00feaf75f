import Datasets
import JSONValues
import Testing
import Tokenizers

/// `train` and `weight` on messages.
@Suite struct MessageTrainingTests {
  /// Two questions with their answers; `flags` stand on the first answer.
  private func line(_ flags: String, second: String = "") -> String {
    func message(_ role: String, _ content: String, _ more: String) -> String {
      #"{"role": "\#(role)", "content": "\#(content)"\#(more.isEmpty ? "" : ", " + more)}"#
    }
    let messages = [
      message("user", "a", ""), message("assistant", "ok", flags), message("user", "b", ""),
      message("assistant", "c", second),
    ]
    return #"{"messages": [\#(messages.joined(separator: ", "))]}"#
  }

  private func asked(_ line: String, chat: String = Toy.chat) throws -> String {
    let encoder = try ExampleEncoder(tokenizer: Toy.tokenizer(chat: chat), maximumLength: 256)
    return try encoder.preview(of: records(line)[0]).tokens
      .filter { $0.role == .target }.map(\.text).joined()
  }

  @Test func `messages that are not trained on do not count`() throws {
    for chat in [Toy.chat, Toy.marked] {
      let end = chat == Toy.marked ? "</s>\n" : "</s>"
      let all = "ok\(end)c\(end)"
      #expect(try asked(line(""), chat: chat) == all)
      for flags in [
        #""train": true"#, #""weight": 1"#, #""weight": 1.0, "train": true"#, #""train": null"#,
      ] {
        #expect(try asked(line(flags), chat: chat) == all, "\(flags)")
      }
      for flags in [#""train": false"#, #""weight": 0"#, #""weight": 0, "train": false"#] {
        #expect(try asked(line(flags), chat: chat) == "c\(end)", "\(flags)")
        #expect(try asked(line("", second: flags), chat: chat) == "ok\(end)", "\(flags)")
      }
    }
  }

  @Test func `a template does not see the flags`() throws {
    let chat = Toy.chat.replacing(
      "{{ m['content'] }}", with: "{{ m['content'] }}{{ m.keys()|list|length }}")
    #expect(try asked(line(#""train": true, "weight": 1"#), chat: chat) == "ok2</s>c2</s>")
  }

  @Test func `a conversation of which nothing counts is left out`() throws {
    let encoder = try ExampleEncoder(tokenizer: Toy.tokenizer(chat: Toy.chat), maximumLength: 64)
    let off = #""train": false"#
    let rows = try records(line(off, second: off) + "\n" + line(""))
    let (examples, report) = try encoder.encode(rows, file: "data")
    #expect(examples.count == 1 && report.droppedCount == 1)
  }

  @Test func `ShareGPT's entries have them too`() throws {
    let line = #"""
      {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "ok", "weight": 0},
       {"from": "human", "value": "b"}, {"from": "gpt", "value": "c"}]}
      """#.replacing("\n", with: "")
    #expect(try asked(line) == "c</s>")
  }

  @Test func `wrong values are named`() throws {
    func failure(_ line: String) -> String {
      do {
        _ = try records(line)
        return ""
      } catch {
        return "\(error)"
      }
    }
    #expect(
      failure(line(#""train": "no""#))
        == #"data:1: "messages[1].train" must be true or false, found a string"#)
    #expect(
      failure(line(#""weight": 0.5"#)) == #"data:1: "messages[1].weight" must be 0 or 1, found 0.5"#
    )
    #expect(failure(line(#""weight": "1""#)).contains("0 or 1, found \"1\""))
    #expect(failure(line(#""train": true, "weight": 0"#)).contains("found the opposite"))
    let user = #"{"messages": [{"role": "user", "content": "a", "train": true}]}"#
    #expect(failure(user).contains("absent or false on a message of the user"))
    let shared = #"{"conversations": [{"from": "gpt", "value": "a", "weight": 2}]}"#
    #expect(failure(shared).contains("conversations[0].weight"))
  }

  @Test func `everything and not everything cannot be asked for at once`() throws {
    let encoder = try ExampleEncoder(
      tokenizer: Toy.tokenizer(chat: Toy.chat), maximumLength: 64, trainsOnPrompt: true)
    let record = try records(line(#""train": false"#))[0]
    let error = #expect(throws: DatasetError.self) { try encoder.preview(of: record) }
    #expect(error.map { "\($0)".contains("--train-on-prompt") } == true)
  }

  @Test func `blocks that do not belong to messages are refused`() throws {
    let once =
      "{% generation %}{% for m in messages %}{{ m['content'] }}{% endfor %}{% endgeneration %}"
    #expect(try asked(line(""), chat: once) == "okbc")
    let error = #expect(throws: DatasetError.self) {
      try asked(line("", second: #""train": false"#), chat: once)
    }
    #expect(error.map { "\($0)".contains("{% generation %}") } == true)
  }
}
