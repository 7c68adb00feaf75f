public import JSONValues

/// A Hugging Face chat template: turns a conversation into the text that a model was trained on.
///
/// Templates are Jinja programs from strangers. They run here with the rules of
/// `transformers.apply_chat_template`: `trim_blocks` and `lstrip_blocks` are on, values behave as
/// Python's do, `tojson` writes what `json.dumps(ensure_ascii=False)` writes, and nothing can be
/// changed or reached but the variables. Time, text and nesting are bounded.
///
/// Messages are cleaned as `transformers` does: keys with null are dropped, and the text of a
/// message's reasoning is visible as `reasoning_content` and `thinking` under whichever of the
/// names `reasoning_content`, `thinking` and `reasoning` it came.
public struct ChatTemplate: Sendable {
  /// The template as it was given.
  public let source: String

  private let program: Jinja.Program
  private let limits: Jinja.Limits
  private let clock: @Sendable () -> Jinja.Clock

  /// Parses a template.
  ///
  /// - Parameter source: The template, usually `chat_template` of `tokenizer_config.json`.
  /// - Throws: `ChatTemplateError.syntax` with the line where the template is malformed.
  public init(source: String) throws(ChatTemplateError) {
    try self.init(source: source, limits: Jinja.Limits())
  }

  package init(
    source: String, limits: Jinja.Limits,
    clock: @escaping @Sendable () -> Jinja.Clock = { Jinja.Clock() }
  ) throws(ChatTemplateError) {
    self.source = source
    self.limits = limits
    self.clock = clock
    program = try Jinja.Parser.parse(source)
  }

  /// Whether the template marks the assistant's text with `{% generation %}` blocks.
  public var hasGenerationBlocks: Bool { program.hasGenerationBlocks }

  /// Renders a conversation.
  ///
  /// The template sees `messages`, `tools`, `documents`, `add_generation_prompt`, the special
  /// tokens and the variables; a variable wins over a special token of the same name.
  ///
  /// - Parameters:
  ///   - messages: The messages, objects with at least a `role`.
  ///   - tools: The tools' schemas, or nil for none.
  ///   - addGenerationPrompt: Whether the text ends where the assistant shall begin to write.
  ///   - specialTokens: Tokens by name, such as `bos_token`.
  ///   - variables: More variables, such as `enable_thinking` or `documents`.
  /// - Returns: The text. Encode it without adding special tokens again.
  /// - Throws: `ChatTemplateError` when the conversation is empty or no list of objects, a
  ///   variable has a reserved name, or the template fails, refuses or exceeds its limits.
  public func render(
    messages: [JSON], tools: JSON? = nil, addGenerationPrompt: Bool = false,
    specialTokens: [(name: String, value: String)] = [], variables: JSONObject = .init()
  ) throws(ChatTemplateError) -> String {
    try checkConversation(messages)
    let context = try Context(tools, specialTokens, variables)
    return try run(messages, context, addGenerationPrompt: addGenerationPrompt)
  }

  /// Renders a conversation and tells which parts of the text `{% generation %}` blocks wrote.
  ///
  /// - Parameters:
  ///   - messages: The messages, objects with at least a `role`.
  ///   - tools: The tools' schemas, or nil for none.
  ///   - addGenerationPrompt: Whether the text ends where the assistant shall begin to write.
  ///   - specialTokens: Tokens by name, such as `bos_token`.
  ///   - variables: More variables, such as `enable_thinking` or `documents`.
  /// - Returns: The text and the spans, which are empty when the template has no such blocks.
  /// - Throws: What `render` throws, and an error for a block inside of a macro, whose place in
  ///   the text is not known.
  public func renderWithAssistantSpans(
    messages: [JSON], tools: JSON? = nil, addGenerationPrompt: Bool = false,
    specialTokens: [(name: String, value: String)] = [], variables: JSONObject = .init()
  ) throws(ChatTemplateError) -> RenderedChat {
    try checkConversation(messages)
    let context = try Context(tools, specialTokens, variables)
    let interpreter = interpreter(messages, context, addGenerationPrompt, recordsSpans: true)
    let text = try interpreter.run()
    return RenderedChat(text: text, assistantSpans: interpreter.spans)
  }

  /// Renders a conversation and finds the assistant's text without `{% generation %}` blocks.
  ///
  /// For every message of the assistant the conversation is rendered up to it with a generation
  /// prompt, and through it. What the second text adds to the first is what the model has to
  /// write: the answer with everything up to the next turn, such as an end-of-turn token and the
  /// newline after it. Templates that render earlier turns differently once later ones follow,
  /// for example by deleting reasoning, break this and are refused.
  ///
  /// - Parameters:
  ///   - messages: The messages, objects with at least a `role`.
  ///   - tools: The tools' schemas, or nil for none.
  ///   - specialTokens: Tokens by name, such as `bos_token`.
  ///   - variables: More variables, such as `enable_thinking` or `documents`.
  /// - Returns: The text of the conversation and a span for every message of the assistant.
  /// - Throws: What `render` throws, and `ChatTemplateError.unclearAssistantSpans` when one of the
  ///   texts does not begin with the one before it or cannot be rendered.
  /// - Complexity: Two renderings for every message of the assistant.
  public func assistantSpans(
    messages: [JSON], tools: JSON? = nil, specialTokens: [(name: String, value: String)] = [],
    variables: JSONObject = .init()
  ) throws(ChatTemplateError) -> RenderedChat {
    try checkConversation(messages)
    let context = try Context(tools, specialTokens, variables)
    let text = try run(messages, context, addGenerationPrompt: false)
    var spans: [Range<Int>] = []
    for (index, message) in messages.enumerated()
    where message["role"]?.stringValue == "assistant" {
      let start = try prefix(messages[..<index], index, context, prompts: true)
      let end = try prefix(messages[...index], index, context, prompts: false)
      guard end.utf8.starts(with: start.utf8) else {
        throw .unclearAssistantSpans(
          messageIndex: index,
          reason: "the turn does not begin with the template's generation prompt: "
            + TextDifference.description(of: start, and: end, named: "the prompt", "the turn"))
      }
      guard text.utf8.starts(with: end.utf8) else {
        throw .unclearAssistantSpans(
          messageIndex: index,
          reason: "the template renders the turn differently when more messages follow: "
            + TextDifference.description(
              of: end, and: text, named: "its beginning alone", "the whole"))
      }
      spans.append(start.utf8.count..<end.utf8.count)
    }
    return RenderedChat(text: text, assistantSpans: spans)
  }

  private func prefix(
    _ messages: ArraySlice<JSON>, _ index: Int, _ context: Context, prompts: Bool
  ) throws(ChatTemplateError) -> String {
    do {
      return try run(Array(messages), context, addGenerationPrompt: prompts)
    } catch {
      let part = messages.count > index ? "through" : "before"
      throw .unclearAssistantSpans(
        messageIndex: index,
        reason: "the conversation \(part) it cannot be rendered alone (\(error))")
    }
  }

  private func run(
    _ messages: [JSON], _ context: Context, addGenerationPrompt: Bool
  ) throws(ChatTemplateError) -> String {
    try interpreter(messages, context, addGenerationPrompt, recordsSpans: false).run()
  }

  private func interpreter(
    _ messages: [JSON], _ context: Context, _ addGenerationPrompt: Bool, recordsSpans: Bool
  ) -> Jinja.Interpreter {
    let messages = messages.map { Jinja.Value(Self.cleaned($0)) }
    let variables =
      context.variables + [
        ("messages", .list(messages)), ("add_generation_prompt", .bool(addGenerationPrompt)),
      ]
    return Jinja.Interpreter(
      program, variables: variables, limits: limits, recordsSpans: recordsSpans, clock: clock)
  }

  private func checkConversation(_ messages: [JSON]) throws(ChatTemplateError) {
    guard !messages.isEmpty else {
      throw .invalidMessages("it is empty; give at least one message")
    }
    for (index, message) in messages.enumerated() where message.objectValue == nil {
      throw .invalidMessages(
        "message \(index) is not an object; give objects such as {\"role\": \"user\", ...}")
    }
  }

  /// The message without null values, its reasoning under the names that templates read.
  private static func cleaned(_ message: JSON) -> JSON {
    guard let object = message.objectValue else { return message }
    let kept = object.filter { !$0.value.isNull }
    let names = ["reasoning_content", "thinking", "reasoning"]
    let filled = JSONObject(kept)
    guard let reasoning = names.lazy.compactMap({ filled[$0] }).first else {
      return .object(filled)
    }
    var result = JSONObject([(key: "thinking", value: reasoning)] + kept)
    result["reasoning_content"] = reasoning
    return .object(result)
  }
}

/// The text of a conversation, and where in it the assistant speaks.
public struct RenderedChat: Equatable, Sendable {
  /// The whole text.
  public var text: String
  /// Ranges of UTF-8 bytes of `text`, ascending and without overlap.
  public var assistantSpans: [Range<Int>]

  /// Creates a rendered conversation.
  ///
  /// - Parameters:
  ///   - text: The whole text.
  ///   - assistantSpans: Ranges of UTF-8 bytes of the text.
  public init(text: String, assistantSpans: [Range<Int>]) {
    self.text = text
    self.assistantSpans = assistantSpans
  }
}

/// What a template sees besides the messages.
private struct Context {
  var variables: [(name: String, value: Jinja.Value)]

  init(
    _ tools: JSON?, _ specialTokens: [(name: String, value: String)], _ variables: JSONObject
  ) throws(ChatTemplateError) {
    for name in ["messages", "tools", "add_generation_prompt"] where variables[name] != nil {
      throw .reservedVariable(name)
    }
    self.variables = [("documents", .none)]
    for token in specialTokens {
      self.variables.append((token.name, .string(token.value)))
    }
    for (name, value) in variables {
      self.variables.append((name, Jinja.Value(value)))
    }
    self.variables.append(("tools", tools.map { Jinja.Value($0) } ?? .none))
  }
}
