/// Why a chat template could not be read or rendered.
public enum ChatTemplateError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The source is not a valid template.
  case syntax(line: Int, message: String)
  /// An operation failed while rendering.
  case runtime(line: Int, message: String)
  /// The template itself refused the conversation by calling `raise_exception`.
  case raised(line: Int, message: String)
  /// The template took more of a bounded resource than it may.
  case limitExceeded(line: Int, limit: String)
  /// The conversation is not one that can be rendered.
  case invalidMessages(String)
  /// A caller's variable has the name of one that is always set.
  case reservedVariable(String)
  /// No template of the model has that name.
  case unknownTemplate(name: String, known: [String])
  /// The turns of the assistant cannot be told apart in the rendered text.
  case unclearAssistantSpans(messageIndex: Int, reason: String)

  /// What went wrong, where, and what to do.
  public var description: String {
    switch self {
    case .syntax(let line, let message):
      "the chat template has a syntax error in line \(line): \(message)"
    case .runtime(let line, let message):
      "the chat template failed in line \(line): \(message)"
    case .raised(let line, let message):
      "the chat template rejects the conversation (line \(line)): \(message)"
    case .limitExceeded(let line, let limit):
      "the chat template was stopped in line \(line): \(limit)"
    case .invalidMessages(let message):
      "the conversation cannot be rendered: \(message)"
    case .reservedVariable(let name):
      "the template variable '\(name)' is set from the conversation; choose another name"
    case .unknownTemplate(let name, let known):
      "the model has no chat template called '\(name)'; "
        + (known.isEmpty ? "it has none at all" : "it has \(known.joined(separator: ", "))")
    case .unclearAssistantSpans(let index, let reason):
      "the assistant's text in message \(index) cannot be located: \(reason); "
        + "use a template with {% generation %} blocks, or train on the whole text"
    }
  }
}
