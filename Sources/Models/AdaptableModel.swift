public import Layers
public import Tensors

/// A model that says what adapters have to know of it besides its modules.
public protocol AdaptableModel: Module {
  /// The `model_type` of `config.json`, by which default layers are chosen.
  var modelType: String { get }
  /// Path of the output head, which "all-linear" leaves out; nil where there is none.
  var outputHeadPath: String? { get }
  /// The generator that dropout inside blocks draws from, so that computing a block again gives the
  /// same numbers.
  var dropoutGenerator: Generator? { get set }
  /// The model's own dropout; nil for a model that has none.
  var ownDropout: ModelDropout? { get }
  /// Told of every batch before it runs, and of how many positions are cached.
  var inputObserver: ((_ batch: DecoderInput, _ past: Int) -> Void)? { get set }
}

extension AdaptableModel {
  /// None.
  public var ownDropout: ModelDropout? { nil }
}

/// A model whose blocks can be there more than once, sharing their weights.
public protocol LayerReplicating: AnyObject {
  /// Blocks of the checkpoint.
  var originalLayerCount: Int { get }
  /// Number of the checkpoint's block that each block is.
  var layerOrigins: [Int] { get }

  /// Takes other blocks.
  ///
  /// - Parameter origins: Numbers of the checkpoint's blocks, in the order of the new ones.
  func replicateLayers(_ origins: [Int])
}

extension DecoderForCausalLM: LayerReplicating {
  /// Blocks of the checkpoint.
  public var originalLayerCount: Int { model.originalLayers.count }

  /// Number of the checkpoint's block that each block is.
  public var layerOrigins: [Int] { model.layerOrigins }

  /// Takes other blocks.
  ///
  /// - Parameter origins: Numbers of the checkpoint's blocks, in the order of the new ones.
  public func replicateLayers(_ origins: [Int]) { model.replicateLayers(origins) }
}

extension DecoderForCausalLM: AdaptableModel {
  /// The `model_type` of `config.json`.
  public var modelType: String { configuration.modelType }

  /// "lm_head".
  public var outputHeadPath: String? { "lm_head" }

  /// The decoder's.
  public var ownDropout: ModelDropout? { model.dropout }

  /// The decoder's.
  public var dropoutGenerator: Generator? {
    get { model.dropoutGenerator }
    set { model.dropoutGenerator = newValue }
  }

  /// The decoder's.
  public var inputObserver: ((_ batch: DecoderInput, _ past: Int) -> Void)? {
    get { model.inputObserver }
    set { model.inputObserver = newValue }
  }
}
