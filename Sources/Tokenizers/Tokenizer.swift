import Foundation
public import JSONValues

/// A Hugging Face tokenizer: text to ids and back, as `tokenizer.json` says.
///
/// The file is followed literally, as `tokenizers.Tokenizer.from_file` does. Its members
/// `truncation` and `padding` apply only when they are asked for: cutting and filling batches is the
/// caller's business. A tokenizer may be used from several threads at once.
public final class Tokenizer: Sendable {
  /// The id that begins a text, if the configuration names one.
  public let beginningOfTextID: Int?
  /// The id that ends a text, if the configuration names one.
  public let endOfTextID: Int?
  /// The id that fills batches, if the configuration names one.
  public let paddingID: Int?
  /// The id of what has no token, if the configuration names one.
  public let unknownID: Int?
  /// The largest number of ids that the model was made for, if the configuration says.
  public let modelMaximumLength: Int?
  /// The source of the default chat template, if there is one.
  public let chatTemplateSource: String?
  /// All chat templates by name, the default one as `default`.
  public let chatTemplateSources: [(name: String, source: String)]
  /// The special tokens by their name in the configuration, such as `eos_token`.
  public let specialTokens: [(name: String, token: String)]
  /// The number of tokens, added ones included.
  public let vocabularySize: Int
  /// How the file says that encodings are cut, if it does.
  public let truncation: Truncation?
  /// How the file says that encodings are filled up, if it does.
  public let padding: Padding?

  let added: AddedVocabulary
  let normalizers: [any Normalizer]
  let preTokenizers: [any PreTokenizer]
  let model: any TokenModel
  let postProcessors: [any PostProcessor]
  /// Whether ids depend on where in the input the normalized text begins.
  let needsOrigins: Bool
  let decoders: [any TokenDecoder]?
  /// Whether decoding is nothing but joining bytes.
  let decodesBytes: Bool
  let texts: TokenTexts
  let workspaces = WorkspacePool()

  /// Creates a tokenizer from parsed files.
  ///
  /// - Parameters:
  ///   - tokenizerJSON: What `tokenizer.json` holds.
  ///   - configuration: What `tokenizer_config.json` holds.
  ///   - chatTemplate: The default chat template; it takes the place of all of the configuration's.
  ///   - namedChatTemplates: Further chat templates, which do so too.
  ///   - specialTokensMap: What `special_tokens_map.json` holds; the configuration wins over it.
  ///   - file: The name of the tokenizer file in errors.
  /// - Throws: `TokenizerError` naming the component and the file.
  public init(
    tokenizerJSON: JSON, configuration: JSON? = nil, chatTemplate: String? = nil,
    namedChatTemplates: [(name: String, source: String)] = [], specialTokensMap: JSON? = nil,
    file: String = "tokenizer.json"
  ) throws(TokenizerError) {
    let root = ComponentReader(tokenizerJSON, path: "", file: file)
    let modelReader = try root.required("model")
    var steps: [any PreTokenizer] = []
    if let component = root.optional("pre_tokenizer") { steps = try PreTokenizers.make(component) }
    // A byte-level tokenizer's last step only spells bytes; the model takes them raw if it can.
    var takesBytes = false
    if var last = steps.last as? ByteLevelPreTokenizer, BytePairModel.canReadBytes(modelReader) {
      takesBytes = true
      last.writesAlphabet = false
      steps[steps.count - 1] = last
    }
    preTokenizers = steps
    model = try TokenModels.make(modelReader, byteLevel: takesBytes)
    normalizers =
      try root.optional("normalizer").map { component throws(TokenizerError) in
        try Normalizers.make(component)
      } ?? []
    var addedTokens: [AddedToken] = []
    for component in try root.optional("added_tokens")?.elements() ?? [] {
      addedTokens.append(try AddedToken(component))
    }
    added = AddedVocabulary(addedTokens, model: model.vocabulary, normalizers: normalizers)
    needsOrigins =
      !normalizers.isEmpty
      && preTokenizers.contains { ($0 as? MetaspacePreTokenizer)?.scheme == .first }
    postProcessors =
      try root.optional("post_processor").map { component throws(TokenizerError) in
        try PostProcessors.make(component)
      } ?? []
    truncation = try root.optional("truncation").map { component throws(TokenizerError) in
      try Truncation(component)
    }
    padding = try root.optional("padding").map { component throws(TokenizerError) in
      try Padding(component)
    }
    decoders = try root.optional("decoder").map { component throws(TokenizerError) in
      try TokenDecoders.make(component)
    }
    decodesBytes = decoders?.count == 1 && decoders?.first is ByteLevelDecoder
    texts = TokenTexts(model: model.vocabulary, added: added, asBytes: decodesBytes)
    let modelVocabulary = model.vocabulary
    vocabularySize =
      modelVocabulary.count
      + added.tokens.values.filter { modelVocabulary.id(of: $0.content) == nil }.count

    let settings = TokenizerConfiguration(
      configuration, specialTokensMap: specialTokensMap,
      templateFiles: (chatTemplate.map { [(ChatTemplates.defaultName, $0)] } ?? [])
        + namedChatTemplates)
    modelMaximumLength = settings.modelMaximumLength
    specialTokens = settings.specialTokens
    chatTemplateSources = settings.chatTemplates
    chatTemplateSource =
      settings.chatTemplates.first { $0.name == ChatTemplates.defaultName }?.source
    let added = added
    let id = { (name: String) -> Int? in
      settings.specialTokens.first { $0.name == name }.flatMap {
        added.vocabulary.id(of: $0.token) ?? modelVocabulary.id(of: $0.token)
      }
    }
    beginningOfTextID = id("bos_token")
    endOfTextID = id("eos_token")
    paddingID = id("pad_token")
    unknownID = id("unk_token")
  }

  /// The id of a token.
  ///
  /// - Parameter token: The token as the vocabulary spells it, compared by its bytes.
  /// - Returns: The id, or nil when there is no such token.
  public func id(of token: String) -> Int? {
    added.vocabulary.id(of: token) ?? model.vocabulary.id(of: token)
  }

  /// The token of an id.
  ///
  /// - Parameter id: The id.
  /// - Returns: The token as the vocabulary spells it, but an added token that is searched in
  ///   normalized text in its normalized form; nil when there is none.
  public func token(for id: Int) -> String? {
    if let text = added.texts[id] { return String(decoding: text, as: UTF8.self) }
    return model.vocabulary.bytes(of: id).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The added tokens by id, in ascending order of the ids.
  public var addedTokens: [(id: Int, token: AddedToken)] {
    added.tokens.sorted { $0.key < $1.key }.map { (id: $0.key, token: $0.value) }
  }
}

/// The workspaces that wait to be used again: as many as there were threads encoding at once.
final class WorkspacePool: @unchecked Sendable {
  private let lock = NSLock()
  private var idle: [EncodingWorkspace] = []

  func take() -> EncodingWorkspace {
    lock.withLock { idle.popLast() } ?? EncodingWorkspace()
  }

  func giveBack(_ workspace: EncodingWorkspace) {
    lock.withLock { idle.append(workspace) }
  }
}
