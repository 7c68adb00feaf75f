import JSONValues
import Models

/// What every method of virtual tokens has; sizes are filled in when it meets a model.
public struct PromptSettings: Equatable, Sendable {
  /// PEFT's `num_virtual_tokens`: how many virtual tokens; it has to be given.
  public var tokenCount: Int?
  /// PEFT's `token_dim`: width of an embedding or, for keys and values, of all key/value heads.
  public var tokenSize: Int?
  /// PEFT's `num_transformer_submodules`: 1 for a decoder, 2 for an encoder and a decoder.
  public var submoduleCount: Int?
  /// PEFT's `num_attention_heads`: query heads or, for keys and values, key/value heads.
  public var headCount: Int?
  /// PEFT's `num_layers`: blocks of the model.
  public var layerCount: Int?

  /// Makes settings.
  ///
  /// - Parameters:
  ///   - tokenCount: How many virtual tokens.
  ///   - submoduleCount: Parts of the model that get virtual tokens; nil for what the model has.
  public init(tokenCount: Int? = nil, submoduleCount: Int? = nil) {
    self.tokenCount = tokenCount
    self.submoduleCount = submoduleCount
  }
}

/// Configuration of a method that puts virtual tokens before every row.
///
/// Only one such adapter of a model can act at a time. None can be merged into weights.
public protocol PromptConfiguration: AdapterConfiguration {
  /// How many virtual tokens, and sizes of the model.
  var settings: PromptSettings { get set }
}

extension ConfigurationField where Configuration: PromptConfiguration {
  /// Fields that every method of virtual tokens has.
  static var settings: [Self] {
    [
      .integer("num_virtual_tokens", \.settings.tokenCount),
      .integer("token_dim", \.settings.tokenSize),
      .integer("num_transformer_submodules", \.settings.submoduleCount),
      .integer("num_attention_heads", \.settings.headCount),
      .integer("num_layers", \.settings.layerCount), .modulesToSave,
    ]
  }
}

/// What the placement has to know of a method of virtual tokens.
protocol PromptMethod: PromptConfiguration {
  /// What is put before a row.
  static var kind: ModelPrompt.Kind { get }

  /// Whether it acts on models with encoder and decoder too.
  static var actsBeforeEncoders: Bool { get }

  /// Checks the method's own fields; the common ones are checked already.
  func validateOwn() throws(AdapterError)

  /// Fills in what depends on the width of a token.
  mutating func fill(tokenSize: Int)

  /// Makes the parameters, with their initial numbers.
  ///
  /// - Parameter site: Where they go; the configuration is filled in.
  /// - Returns: What makes the prompt.
  /// - Throws: ``AdapterError`` when the configuration does not fit the model.
  func encoder(for site: PromptSite) throws(AdapterError) -> any PromptEncoder
}

extension PromptConfiguration {
  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try require(
      "num_virtual_tokens", (settings.tokenCount ?? 0) > 0, "a positive number",
      settings.tokenCount.map(String.init) ?? "none")
    try require(
      "num_transformer_submodules", 1...2 ~= settings.submoduleCount ?? 1,
      "1 for a decoder, 2 for an encoder and a decoder", settings.submoduleCount ?? 1)
    if let method = self as? any PromptMethod { try method.validateOwn() }
  }
}

extension PromptMethod {
  static var actsBeforeEncoders: Bool { false }

  func validateOwn() throws(AdapterError) {}

  mutating func fill(tokenSize: Int) {}

  /// Virtual tokens; valid configurations have some.
  var tokenCount: Int { settings.tokenCount ?? 0 }

  /// Rows of a table of virtual tokens: PEFT makes as many for a decoder behind an encoder, which no
  /// one reads.
  var rowCount: Int { tokenCount * (settings.submoduleCount ?? 1) }

  /// The configuration with the model's sizes, as PEFT saves it.
  ///
  /// For keys and values PEFT overwrites the width and the heads, whatever was asked for.
  func filled(for shape: PromptShape) throws(AdapterError) -> Self {
    var result = self
    let submodules = settings.submoduleCount ?? shape.submoduleCount
    try require(
      "num_transformer_submodules", submodules == shape.submoduleCount,
      "\(shape.submoduleCount), the model's number of stacks", submodules)
    guard shape.submoduleCount == 1 || Self.actsBeforeEncoders else {
      throw .impossible(method: Self.type, what: "put into a model with encoder and decoder")
    }
    result.settings.submoduleCount = submodules
    let isPrefix = Self.kind == .keysAndValues
    if isPrefix {
      result.settings.tokenSize = shape.keyValueHeadCount * shape.headSize
      result.settings.headCount = shape.keyValueHeadCount
    }
    let size = result.settings.tokenSize ?? shape.hiddenSize
    try require(
      "token_dim", isPrefix || size == shape.hiddenSize,
      "\(shape.hiddenSize), the model's hidden size", size)
    let layers = settings.layerCount ?? shape.layerCount
    try require(
      "num_layers", !isPrefix || layers == shape.layerCount,
      "\(shape.layerCount), the model's number of blocks", layers)
    try require(
      "num_virtual_tokens", tokenCount < shape.maximumLength,
      "less than the model's limit of \(shape.maximumLength) positions", tokenCount)
    result.settings.tokenSize = size
    result.settings.headCount = result.settings.headCount ?? shape.headCount
    result.settings.layerCount = layers
    result.fill(tokenSize: size)
    return result
  }
}
