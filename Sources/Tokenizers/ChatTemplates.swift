/// The chat templates of a tokenizer by their use, or one that was asked for instead.
///
/// Among named templates the one called `tool_use` serves conversations with tools and `default` all
/// others, as in transformers.
public struct ChatTemplates: Sendable {
  /// The template for conversations; nil where the model has none of that use.
  public let standard: ChatTemplate?
  /// The template for conversations with tools; nil where the standard one serves them too.
  public let toolUse: ChatTemplate?
  /// The names of all templates of the model.
  public let names: [String]

  /// The name of the template that serves where no other is asked for.
  public static let defaultName = "default"

  /// Chooses templates.
  ///
  /// - Parameters:
  ///   - tokenizer: The model's.
  ///   - replacement: The source of a template for everything instead of the model's.
  ///   - name: The one of the model's templates that serves everything.
  /// - Throws: `ChatTemplateError` for a template that is malformed, and for a name that no template
  ///   has.
  public init(
    of tokenizer: Tokenizer, replacement: String? = nil, name: String? = nil
  ) throws(ChatTemplateError) {
    names = tokenizer.chatTemplateSources.map(\.name)
    func template(_ name: String) throws(ChatTemplateError) -> ChatTemplate? {
      let found = tokenizer.chatTemplateSources.first { $0.name.utf8.elementsEqual(name.utf8) }
      guard let found else { return nil }
      return try ChatTemplate(source: found.source)
    }
    if let replacement {
      standard = try ChatTemplate(source: replacement)
      toolUse = nil
    } else if let name {
      guard let chosen = try template(name) else {
        throw .unknownTemplate(name: name, known: names)
      }
      standard = chosen
      toolUse = nil
    } else {
      standard = try template(Self.defaultName)
      toolUse = try template("tool_use")
    }
  }

  /// The template for a conversation.
  ///
  /// - Parameter hasTools: Whether tools are offered.
  /// - Returns: The template, or nil when there is none; ``absence`` says why.
  public func template(hasTools: Bool) -> ChatTemplate? {
    hasTools ? toolUse ?? standard : standard
  }

  /// What to say where a template is needed and there is none.
  public var absence: String {
    names.isEmpty
      ? "the model has no chat template; --chat-template FILE gives one"
      : "none of the model's chat templates is called \(Self.defaultName); choose one of "
        + names.joined(separator: ", ") + " by --chat-template-name"
  }
}
