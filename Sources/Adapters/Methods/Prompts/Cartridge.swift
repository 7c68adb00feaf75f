import Layers
import Models
import Tensors

/// Configuration of cartridges: n virtual tokens whose keys and values for every block are trained, the
/// first ones left as they begin, as attention rests on them.
///
/// They begin as standard normal numbers; `PeftModel.beginPrompt(asPrefixOf:adapter:)` puts a text's keys
/// and values in place, which is what the paper advises.
///
/// Source: Eyuboglu et al. 2025, arXiv 2506.06266. Defaults are those of PEFT 0.21.2.
public struct CartridgeConfig: PromptConfiguration {
  /// PEFT's name of the method.
  public static let type = "CARTRIDGE"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// How many virtual tokens, and sizes of the model.
  public var settings = PromptSettings()
  /// How many of the first virtual tokens are not trained.
  public var frozenTokens = 1

  /// Makes a configuration with PEFT's defaults, which says nothing of the number of tokens.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - virtualTokens: How many virtual tokens, positive.
  ///   - frozenTokens: How many of the first are not trained.
  public init(virtualTokens: Int, frozenTokens: Int = 1) {
    settings.tokenCount = virtualTokens
    self.frozenTokens = frozenTokens
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    ConfigurationField.settings + [.integer("num_frozen_tokens", \.frozenTokens)]
  }
}

extension CartridgeConfig: PromptMethod {
  static var kind: ModelPrompt.Kind { .keysAndValues }

  func validateOwn() throws(AdapterError) {
    try require(
      "num_frozen_tokens", (0...tokenCount).contains(frozenTokens),
      "0 to num_virtual_tokens \(tokenCount)", frozenTokens)
  }

  func encoder(for site: PromptSite) throws(AdapterError) -> any PromptEncoder {
    let shape = site.model.promptShape
    let width = shape.layerCount * 2 * shape.keyValueHeadCount * shape.headSize
    return Cartridge(
      frozen: frozenTokens > 0 ? site.normal([frozenTokens, width]) : nil,
      trained: frozenTokens < tokenCount ? site.normal([tokenCount - frozenTokens, width]) : nil)
  }
}

/// Keys and values in two parts.
final class Cartridge: DerivedPromptEncoder {
  let frozen: Parameter?  // [f, layers 2 kv]
  let trained: Parameter?  // [n - f, layers 2 kv]

  init(frozen: Parameter?, trained: Parameter?) {
    self.frozen = frozen
    self.trained = trained
  }

  var parameters: [AdapterParameter] {
    [
      frozen.map { AdapterParameter("frozen_embedding", $0, isTrained: false) },
      trained.map { AdapterParameter("trainable_embedding", $0) },
    ].compactMap { $0 }
  }

  /// PEFT's file holds both parts.
  var needsCompanion: Bool { false }

  func prompt(rows: Int, _ context: AdapterContext) -> Tensor {
    .concatenated([frozen, trained].compactMap { $0?.value })
  }

  func take(_ embeddings: Tensor) -> Bool {
    let split = frozen?.value.size(0) ?? 0
    frozen?.replaceValue(embeddings.narrowed(0, 0..<split).cloned())
    trained?.replaceValue(embeddings.narrowed(0, split..<embeddings.size(0)).cloned())
    return true
  }
}
