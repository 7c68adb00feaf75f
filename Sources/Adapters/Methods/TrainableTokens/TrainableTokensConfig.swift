import JSONValues
import Layers

/// Configuration of trainable tokens: rows of the embedding table are replaced by rows of their own,
/// which are trained.
///
/// An output head that is the same table follows. PEFT's name `trainable_tokens_delta` notwithstanding,
/// the file holds the new rows themselves. PEFT does not check the indices; here an index that is
/// negative, doubled or outside the table is refused before anything is changed.
///
/// Defaults are those of PEFT 0.21.2.
public struct TrainableTokensConfig: AdapterConfiguration {
  /// PEFT's name of the method.
  public static let type = "TRAINABLE_TOKENS"

  /// Task and base.
  public var origin = AdapterOrigin()
  /// Tokens whose rows are trained; it has to be given.
  public var tokenIndices: [Int] = []
  /// Embeddings or linear layers; nil for the input embeddings.
  public var targetModules: TargetModules?
  /// Whether rows begin as those they replace, instead of standard normal numbers.
  public var beginsAsBase = true

  /// Makes a configuration with PEFT's defaults, which says nothing of the tokens.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameter tokenIndices: Tokens whose rows are trained, each once.
  public init(tokenIndices: [Int]) { self.tokenIndices = tokenIndices }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      ConfigurationField(
        "token_indices",
        read: { (object, reader) throws(AdapterError) in
          object.tokenIndices = try reader.integers("token_indices") ?? []
        }, write: { .array($0.tokenIndices.map { .integer($0) }) }),
      .targets("target_modules", \.targetModules), .flag("init_weights", \.beginsAsBase),
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try checkTokens(tokenIndices, field: "token_indices")
    try require(
      "target_modules", targetModules != .allLinear, "names of embeddings", "all-linear")
  }
}
