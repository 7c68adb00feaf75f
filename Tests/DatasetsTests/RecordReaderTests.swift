import Datasets
import Foundation
import JSONValues
import Testing

@Suite("Reading records")
struct RecordReaderTests {
  @Test("Each format is recognised by its keys")
  func formats() throws {
    let lines: [(String, DatasetRecord)] = [
      (#"{"text": "a"}"#, .text("a")),
      (#"{"prompt": "a", "completion": "b"}"#, .promptCompletion(prompt: "a", completion: "b")),
      (
        #"{"instruction": "a", "input": "b", "output": "c"}"#,
        .instruction("a", input: "b", output: "c")
      ),
      (#"{"instruction": "a", "output": "c"}"#, .instruction("a", input: "", output: "c")),
      (
        #"{"instruction": "a", "input": null, "output": "c", "text": "all"}"#,
        .instruction("a", input: "", output: "c")
      ),
      (
        #"{"prompt": "x", "messages": [{"role": "user", "content": "a"}]}"#,
        .messages([["role": "user", "content": "a"]], tools: nil)
      ),
      (#"{"text": "a", "label": 1}"#, .labeled(text: "a", pair: nil, label: .index(1))),
      (#"{"text": "a", "label": true}"#, .labeled(text: "a", pair: nil, label: .index(1))),
      (#"{"text": "a", "label": 1.5}"#, .labeled(text: "a", pair: nil, label: .value(1.5))),
      (
        #"{"text": "a", "text_pair": "b", "label": "yes"}"#,
        .labeled(text: "a", pair: "b", label: .name("yes"))
      ),
      (#"{"source": "a", "target": "b"}"#, .sourceTarget(source: "a", target: "b")),
    ]
    for (line, expected) in lines {
      let found = try records(line)
      #expect(found.map(\.record) == [expected], "\(line)")
      #expect(found.first?.record.format == expected.format)
    }
    let prompts = try records(#"{"prompt": "a"}"#, allowsPromptOnly: true)
    #expect(prompts.map(\.record) == [.prompt("a")])
  }

  @Test("Tools and tool calls are kept as they are")
  func tools() throws {
    let line = """
      {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": null, \
      "tool_calls": [{"function": {"name": "f"}}]}], "tools": [{"name": "f"}]}
      """
    guard case .messages(let messages, let tools, _) = try records(line).first?.record else {
      Issue.record("no messages")
      return
    }
    #expect(messages.count == 2)
    #expect(messages.last?["tool_calls"] == [["function": ["name": "f"]]])
    #expect(tools == [["name": "f"]])
  }

  @Test("Lines end with LF, CRLF or the file; blank ones and a byte order mark are skipped")
  func lines() throws {
    let text = "\u{FEFF}{\"text\": \"a\"}\r\n\r\n \t\n{\"text\": \"b\\r\"}\n{\"text\": \"c\"}"
    let found = try records(text)
    #expect(found.map(\.record) == [.text("a"), .text("b\r"), .text("c")])
    #expect(found.map(\.location.line) == [1, 4, 5])
    let separators = try records("{\"text\": \"a\u{2028}b\u{85}c\"}\n")
    #expect(separators.map(\.record) == [.text("a\u{2028}b\u{85}c")], "only LF separates")
  }

  @Test("A file that is one array is read element by element")
  func arrays() throws {
    let text =
      "\u{FEFF} [\n{\"text\": \"a]},[\\\"\"},\n\n {\"text\":\n \"b\\\\\", \"n\": [[{}]]} ,"
      + "{\"prompt\": \"{\", \"completion\": \"[\"}\n]\n "
    let found = try records(text)
    #expect(
      found.map(\.record) == [
        .text("a]},[\""), .text("b\\"), .promptCompletion(prompt: "{", completion: "["),
      ])
    #expect(found.map(\.location.line) == [2, 4, 5])
  }

  @Test("Files are read like data, and a missing one is told apart")
  func files() throws {
    let path = NSTemporaryDirectory() + "records-\(UUID().uuidString).jsonl"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data("{\"text\": \"a\"}\n{\"text\": \"b\"}\n".utf8).write(to: URL(fileURLWithPath: path))
    var reader = try RecordReader(path: path)
    #expect(try reader.readAll().map(\.location.description) == ["\(path):1", "\(path):2"])
    let missing = #expect(throws: DatasetError.self) { try RecordReader(path: path + "x") }
    #expect(missing == .missingFile(path: path + "x"))
    #expect(missing?.kind == .missingFile)
    let directory = #expect(throws: DatasetError.self) {
      try RecordReader(path: NSTemporaryDirectory())
    }
    #expect(directory?.kind == .badData)
  }

  @Test("Formats of one task may be mixed, those of several may not")
  func mixing() throws {
    let text = "{\"text\": \"a\"}\n{\"prompt\": \"a\", \"completion\": \"b\", \"id\": 3}\n"
    var reader = RecordReader(data: Data(text.utf8))
    #expect(try reader.readAll().count == 2)
    #expect(reader.formats == [.text: 1, .promptCompletion: 1])
    #expect(reader.ignoredKeys == ["id": 1])
    #expect(reader.family == .languageModel)

    let mixed = #expect(throws: DatasetError.self) {
      try records("{\"text\": \"a\"}\n{\"text\": \"a\", \"label\": 1}\n")
    }
    #expect(
      mixed
        == .incompatibleFormat(
          at: RecordLocation(file: "data", line: 2),
          expected: "a record for language-model training",
          actual: "{\"text\", \"label\", \"text_pair\"?}, which is for classification"))
    let unlabelled = #expect(throws: DatasetError.self) {
      try records("{\"text\": \"a\", \"label\": 1}\n{\"text\": \"a\"}\n")
    }
    #expect(
      unlabelled
        == .missingKey(at: RecordLocation(file: "data", line: 2), key: "label", found: ["text"]))
  }

  static let refusals: [(String, String)] = [
    ("", "data: empty data: expected at least one JSON object, one a line"),
    ("\n \n", "data: empty data: expected at least one JSON object, one a line"),
    ("1", "data:1: expected one JSON object on the line: found a number"),
    ("[]", "data: empty data: expected at least one JSON object"),
    ("[1]", "data:1: expected one JSON object on the line: found a number"),
    ("[\n{\"text\": \"a\"},\n\n  {\"text\": 1}]", "data:4: \"text\" must be a string"),
    ("[{\"text\": \"a\"}", "data:1: expected one JSON object on the line: the array that the file"),
    ("[{\"text\": \"a\"},", "the array that the file begins with has no end"),
    ("[{\"text\": \"a]}", "the array that the file begins with has no end"),
    (
      "[{\"text\": \"a\"}\n{\"text\": \"b\"}]",
      "data:2: expected one JSON object on the line: a comma"
    ),
    ("[{\"text\": \"a\"},]", "data:1: expected one JSON object on the line"),
    (
      "[{\"text\": \"a\"}]\n{\"text\": \"b\"}",
      "data:2: expected one JSON object on the line: there is"
    ),
    ("[{\"text\": \"a\"} x]", "a comma is missing between elements"),
    ("[{\"text\": \"a\\q\"}]", "of the element"),
    ("{\"text\": \"a\"", "data:1: expected one JSON object on the line"),
    ("{\"text\": \"a\"}{\"text\": \"b\"}", "data:1: expected one JSON object on the line"),
    ("{\"text\": \"a\"}\n{\"text\": \"\u{7}\"}", "data:2: expected one JSON object on the line"),
    ("{\"text\": \"a\", \"text\": \"b\"}", "the key \"text\" occurs twice"),
    ("{}", "data:1: found the keys none, which are no known format"),
    ("{\"topic\": \"a\"}", "found the keys \"topic\", which are no known format"),
    ("{\"txt\": \"a\"}", "did you mean \"text\" for \"txt\"?"),
    ("{\"Prompt\": \"a\", \"completion\": \"b\"}", "did you mean \"prompt\" for \"Prompt\"?"),
    ("{\"text\": \"a\", \"lable\": 1}", "unknown key \"lable\"; did you mean \"label\"?"),
    (
      "{\"instruction\": \"a\", \"inptu\": \"b\", \"output\": \"c\"}",
      "unknown key \"inptu\"; did you mean \"input\"?"
    ),
    ("{\"prompt\": \"a\"}", "data:1: the key \"completion\" is missing; found \"prompt\""),
    ("{\"text\": 3}", "data:1: \"text\" must be a string, found a number"),
    ("{\"text\": \" \\n\"}", "data:1: \"text\" is empty"),
    ("{\"prompt\": \"a\", \"completion\": \"\"}", "\"completion\" is empty"),
    ("{\"text\": \"a\", \"label\": null}", "\"label\" must be a class name"),
    ("{\"messages\": []}", "\"messages\" is empty"),
    ("{\"messages\": \"a\"}", "\"messages\" must be an array"),
    ("{\"messages\": [{\"content\": \"a\"}]}", "\"messages[0].role\" is missing"),
    (
      "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"asistant\"}]}",
      "\"messages[1].role\" must be \"assistant\", found \"asistant\""
    ),
    (
      "{\"messages\": [{\"role\": \"user\", \"contnet\": \"a\"}]}",
      "unknown key \"messages[0].contnet\"; did you mean \"content\"?"
    ),
    (
      "{\"messages\": [{\"role\": \"user\", \"content\": null}]}",
      "must be a string, or null beside tool_calls, found null"
    ),
  ]

  @Test("What cannot be used is refused with its place", arguments: refusals)
  func refusal(_ text: String, _ message: String) {
    let error = #expect(throws: DatasetError.self) { try records(text) }
    #expect(error?.kind == .badData)
    #expect(error?.description.contains(message) == true, "\(error?.description ?? "none")")
  }

  @Test("Bytes that are no UTF-8 are refused with their line")
  func invalidBytes() {
    var reader = RecordReader(
      data: Data("{\"text\": \"a\"}\n{\"text\": \"".utf8 + [0xFF, 0x22, 0x7D]))
    let error = #expect(throws: DatasetError.self) { try reader.readAll() }
    guard case .malformedLine(let place, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(place.line == 2)
  }
}
