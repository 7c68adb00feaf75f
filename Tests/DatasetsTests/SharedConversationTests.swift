import Datasets
import JSONValues
import Testing

/// The layouts of ShareGPT and Alpaca.
@Suite struct SharedConversationTests {
  private func messages(_ line: String) throws -> [JSON] {
    guard case .messages(let messages, _, _) = try records(line).first?.record else { return [] }
    return messages
  }

  @Test func `ShareGPT's speakers become roles`() throws {
    let names = [
      ("system", "system"), ("human", "user"), ("user", "user"), ("prompter", "user"),
      ("gpt", "assistant"), ("assistant", "assistant"), ("model", "assistant"),
      ("chatgpt", "assistant"), ("bot", "assistant"), ("tool", "tool"), ("observation", "tool"),
      ("function_response", "tool"),
    ]
    for (name, role) in names {
      let found = try messages(#"{"conversations": [{"from": "\#(name)", "value": "x"}]}"#)
      #expect(found == [["role": .string(role), "content": "x"]], "\(name)")
      let spelt = try messages(#"{"conversations": [{"role": "\#(name)", "content": "x"}]}"#)
      #expect(spelt == found)
    }
  }

  @Test func `a system text beside the conversation comes first`() throws {
    let line = #"{"conversations": [{"from": "human", "value": "a"}], "system": "s"}"#
    #expect(
      try messages(line) == [
        ["role": "system", "content": "s"], ["role": "user", "content": "a"],
      ])
    let empty = #"{"conversations": [{"from": "human", "value": "a"}], "system": ""}"#
    #expect(try messages(empty).count == 1)
  }

  @Test func `calls of functions and tools are read from their JSON`() throws {
    let line = #"""
      {"conversations": [{"from": "human", "value": "a"}, {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"}, {"from": "observation", "value": "2"}, {"from": "function_call", "value": "[{\"name\": \"g\"}, {\"name\": \"h\"}]"}], "tools": "[{\"name\": \"f\"}]"}
      """#
    guard case .messages(let found, let tools, _) = try records(line).first?.record else {
      Issue.record("no messages")
      return
    }
    #expect(tools == [["name": "f"]])
    #expect(
      found[1] == [
        "role": "assistant", "content": "",
        "tool_calls": [["type": "function", "function": ["name": "f", "arguments": ["x": 1]]]],
      ])
    #expect(found[3]["tool_calls"]?.arrayValue?.count == 2)
  }

  @Test(arguments: [
    (#"{"conversations": "a"}"#, "\"conversations\" must be an array of"),
    (#"{"conversations": []}"#, "\"conversations\" is empty"),
    (#"{"conversations": [3]}"#, "\"conversations[0]\" must be an object, found a number"),
    (
      #"{"conversations": [{"from": "humna", "value": "a"}]}"#,
      "\"conversations[0].from\" must be \"human\", found \"humna\""
    ),
    (#"{"conversations": [{"from": "cat", "value": "a"}]}"#, "must be one of system, developer"),
    (
      #"{"conversations": [{"frm": "human", "value": "a"}]}"#,
      "unknown key \"conversations[0].frm\"; did you mean \"from\"?"
    ),
    (
      #"{"conversations": [{"from": "gpt", "text": "a"}]}"#,
      "the key \"conversations[0].value\" is missing"
    ),
    (
      #"{"conversations": [{"from": "gpt", "value": 1}]}"#,
      "\"conversations[0].value\" must be a string, found a number"
    ),
    (
      #"{"conversations": [{"from": "function_call", "value": "f(1)"}]}"#,
      "must be a call in JSON"
    ),
    (
      #"{"conversations": [{"from": "function_call", "value": "{}"}]}"#, "must be a call in JSON"
    ),
    (
      #"{"conversations": [{"from": "system", "value": "a"}], "system": "b"}"#,
      "\"system\" must be absent"
    ),
    (
      #"{"conversations": [{"from": "human", "value": "a"}], "tools": "x"}"#,
      "\"tools\" must be an array or its JSON text"
    ),
    (
      #"{"conversation": [{"from": "human", "value": "a"}]}"#,
      "did you mean \"conversations\" for \"conversation\"?"
    ),
    (
      #"{"instruction": "a", "output": "b", "history": [["q"]]}"#,
      "\"history[0]\" must be [instruction, output], two strings"
    ),
    (
      #"{"instruction": "a", "output": "b", "history": "q"}"#,
      "\"history\" must be an array of [instruction, output]"
    ),
    (
      #"{"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": 1}"#,
      "\"chat_template_kwargs\" must be an object"
    ),
  ])
  func `what cannot be used is refused with its place`(line: String, message: String) {
    let error = #expect(throws: DatasetError.self) { try records(line) }
    #expect(error?.kind == .badData)
    #expect(error?.description.contains(message) == true, "\(error?.description ?? "none")")
  }

  @Test func `an instruction's system text and history are turns of a conversation`() throws {
    let lines = """
      {"instruction": "c", "input": "d", "output": "e", "system": "s", "history": [["a", "b"]]}
      {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, \
      {"role": "assistant", "content": "b"}, {"role": "user", "content": "c\\n\\nd"}, \
      {"role": "assistant", "content": "e"}]}
      """
    let chat = try ExampleEncoder(
      tokenizer: Toy.tokenizer(chat: Toy.chat), maximumLength: 128, promptStyle: .chat)
    let examples = try chat.encode(records(lines), file: "data").examples
    #expect(examples.count == 2 && examples[0] == examples[1])
    #expect(examples[0].targetCount == 4, "both answers and their ends")
  }

  @Test func `in plain style the system text stands before the headings, a history is refused`()
    throws
  {
    let plain = try ExampleEncoder(tokenizer: Toy.tokenizer(), maximumLength: 128)
    let line = #"{"instruction": "A", "output": "C", "system": "S", "history": []}"#
    let example = try plain.encode(records(line), file: "data").examples[0]
    #expect(
      example.ids
        == Toy.codes("S\n\n### Instruction:\nA\n\n### Response:\nC") + [Toy.end])
    let error = #expect(throws: DatasetError.self) {
      try plain.encode(records(line.replacing("[]", with: #"[["a", "b"]]"#)), file: "data")
    }
    #expect(error?.description.contains("--prompt-style chat") == true)
  }
}
