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
}

extension DecoderForCausalLM: AdaptableModel {
  /// The `model_type` of `config.json`.
  public var modelType: String { configuration.modelType }

  /// "lm_head".
  public var outputHeadPath: String? { "lm_head" }

  /// The decoder's.
  public var dropoutGenerator: Generator? {
    get { model.dropoutGenerator }
    set { model.dropoutGenerator = newValue }
  }
}
