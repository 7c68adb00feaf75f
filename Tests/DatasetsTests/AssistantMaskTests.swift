import Datasets
import JSONValues
import Testing
import Tokenizers

/// What of a conversation is asked, and how it begins and ends.
@Suite struct AssistantMaskTests {
  private func conversation(_ turns: [(String, String)], _ more: String = "") -> String {
    let messages = turns.map { #"{"role": "\#($0.0)", "content": "\#($0.1)"}"# }
    return #"{"messages": [\#(messages.joined(separator: ", "))]\#(more)}"#
  }

  private var turns: String {
    conversation([("user", "a"), ("assistant", "ok"), ("user", "b"), ("assistant", "c")])
  }

  private func preview(_ line: String, chat: String, begins: Bool = false) throws -> ExamplePreview
  {
    let encoder = try ExampleEncoder(
      tokenizer: Toy.tokenizer(begins: begins, chat: chat), maximumLength: 256)
    return try encoder.preview(of: records(line)[0])
  }

  private func asked(_ preview: ExamplePreview) -> String {
    preview.tokens.filter { $0.role == .target }.map(\.text).joined()
  }

  @Test func `without markers the answers and their ends are found by prefixes`() throws {
    let found = try preview(turns, chat: Toy.chat)
    #expect(asked(found) == "ok</s>c</s>")
    #expect(!found.isEndless && !found.beginsTwice)
  }

  @Test func `markers that leave out the end are obeyed and told of`() throws {
    let words = Toy.marked.replacing(
      "{{ m['content'] }}</s>\n{% endgeneration %}",
      with: "{{ m['content'] }}{% endgeneration %}</s>\n")
    let found = try preview(turns, chat: words)
    #expect(asked(found) == "okc")
    #expect(found.isEndless)
    let encoder = try ExampleEncoder(tokenizer: Toy.tokenizer(chat: words), maximumLength: 64)
    let report = try encoder.encode(records(turns), file: "data").report
    #expect(report.endlessCount == 1)
    #expect(report.description.contains("1 whose answer has no end-of-text token"))
    #expect(!(try preview(turns, chat: Toy.marked)).isEndless)
  }

  @Test func `a template without any end is told of`() throws {
    let bare = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    #expect(try preview(turns, chat: bare).isEndless)
  }

  @Test func `the beginning comes once, whether the tokenizer or the template writes it`() throws {
    for begins in [false, true] {
      let written = try preview(turns, chat: "{{ bos_token }}" + Toy.chat, begins: begins)
      #expect(written.tokens.prefix(2).map(\.text) == ["<s>", "<im>"])
      #expect(!written.beginsTwice)
      let plain = try preview(turns, chat: Toy.chat, begins: begins)
      #expect(plain.tokens.first?.text == "<im>", "what the template leaves out is not added")
    }
    let doubled = try preview(turns, chat: "{{ bos_token }}{{ bos_token }}" + Toy.chat)
    #expect(doubled.beginsTwice)
  }

  @Test func `the end is learned where padding is the same token`() throws {
    let document = try Toy.tokenizer(chat: Toy.chat)
    let same = try Toy.tokenizer(chat: Toy.chat, filler: "</s>")
    #expect(same.paddingID == same.endOfTextID && document.paddingID != document.endOfTextID)
    let lines = turns + "\n" + conversation([("user", "long question"), ("assistant", "d")])
    let encoder = try ExampleEncoder(tokenizer: same, maximumLength: 64)
    let examples = try encoder.encode(records(lines), file: "data").examples
    let other = try ExampleEncoder(tokenizer: document, maximumLength: 64)
    #expect(examples == (try other.encode(records(lines), file: "data").examples))
    let batch = TokenBatch(rows: examples.map { [$0] }, paddingID: Toy.end)
    for (row, example) in examples.enumerated() {
      let labels = Array(batch.labels[row * batch.length..<(row + 1) * batch.length])
      #expect(labels.prefix(example.ids.count).contains(Toy.end), "the end has a label")
      #expect(labels.dropFirst(example.ids.count).allSatisfy { $0 == ignoredLabelID })
    }
    #expect(batch.targetCount == 6)
  }

  @Test func `what differs is said where prefixes do not hold`() throws {
    let forgetting =
      "{% for m in messages %}<im>{{ m.role }}\n"
      + "{{ m.content if loop.last or m.role == 'user' else 'gone' }}</s>\n{% endfor %}"
      + "{% if add_generation_prompt %}<im>assistant\n{% endif %}"
    let later = #expect(throws: DatasetError.self) { try preview(turns, chat: forgetting) }
    for part in ["data:1:", "message 1", "alone has \"ok", "the whole has \"gone"] {
      #expect(later?.description.contains(part) == true, "\(later?.description ?? "")")
    }
    let thinking = Toy.chat.replacing(
      "<im>assistant\n{% endif %}", with: "<im>assistant\n<think>{% endif %}")
    let prompt = #expect(throws: DatasetError.self) { try preview(turns, chat: thinking) }
    for part in ["the prompt has \"<think>\"", "the turn has \"ok", "generation %} blocks"] {
      #expect(prompt?.description.contains(part) == true, "\(prompt?.description ?? "")")
    }
  }

  @Test func `a template of its own stands in for the model's`() throws {
    let tokenizer = try Toy.tokenizer(chat: "{{ raise_exception('not this one') }}")
    let encoder = try ExampleEncoder(
      tokenizer: tokenizer, maximumLength: 64, chatTemplate: Toy.marked)
    #expect(asked(try encoder.preview(of: records(turns)[0])) == "ok</s>\nc</s>\n")
  }

  @Test func `variables of the row reach the template`() throws {
    let line = conversation(
      [("user", "a"), ("assistant", "b")], #", "chat_template_kwargs": {"mood": "glad"}"#)
    let found = try preview(line, chat: "{{ mood }}" + Toy.chat)
    #expect(found.tokens.prefix(4).map(\.text).joined() == "glad")
    let reserved = line.replacing("mood", with: "tools")
    let error = #expect(throws: DatasetError.self) { try preview(reserved, chat: Toy.chat) }
    #expect(error?.description.contains("'tools' is set from the conversation") == true)
  }

  @Test func `conversations with tools take the template for them`() throws {
    let tokenizer = try Toy.tokenizer(
      templates: [("default", "plain" + Toy.chat), ("tool_use", "tools" + Toy.chat)])
    let encoder = try ExampleEncoder(tokenizer: tokenizer, maximumLength: 64)
    let turns = [("user", "a"), ("assistant", "b")]
    for (more, start) in [("", "plain"), (#", "tools": [{"name": "f"}]"#, "tools")] {
      let record = try records(conversation(turns, more))[0]
      let rendering = try encoder.rendering(of: record)
      #expect(rendering.text.hasPrefix(start))
      #expect(rendering.assistantMask?.count { $0 } == 2)
    }
  }
}
