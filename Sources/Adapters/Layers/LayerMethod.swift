import Layers
import Tensors

/// A method that gives each of some linear layers an adapter of its own.
protocol LayerMethod: LayerConfiguration {
  /// Whether adapters can be merged into weights.
  static var isMergeable: Bool { get }

  /// Whether layers are grouped by the name in `target_modules` that each has; then
  /// ``adapters(for:)`` sees the names that the file will have.
  static var groupsByTargetName: Bool { get }

  /// The configuration with what else PEFT takes for a type of model filled in.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`; nil where there is none.
  /// - Returns: What is put into the model and saved.
  /// - Throws: ``AdapterError`` when something has to be named.
  func completed(modelType: String?) throws(AdapterError) -> Self

  /// Makes the adapters of the chosen layers.
  ///
  /// - Parameter sites: The layers, in the order of the model.
  /// - Returns: An adapter for each, and what they share.
  /// - Throws: ``AdapterError`` when the configuration does not fit a layer.
  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters

  /// Makes the adapter of one layer, for methods whose layers know nothing of each other.
  ///
  /// - Parameter site: The layer.
  /// - Returns: The adapter, with its initial numbers.
  /// - Throws: ``AdapterError`` when the configuration does not fit the layer.
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter
}

/// The adapters of some layers.
struct LayerAdapters {
  /// One for each layer, in their order.
  var layers: [any LayerAdapter]
  /// Tensors that layers share; files put their names behind "base_model.".
  var shared: [AdapterParameter] = []
  /// What happens between steps of training; nil for nothing.
  var training: (any AdapterTraining)?
  /// Names behind each layer's path under which files may repeat what is shared.
  var repeated: [String] = []
  /// How files differ from what is in memory; nil when they do not.
  var storage: (any AdapterStorage)?
  /// What settings were changed to, to fit some layers, each in a sentence.
  var warnings: [String] = []
}

/// How the files of an adapter differ from its tensors in memory.
protocol AdapterStorage: AnyObject {
  /// The configuration that files have.
  ///
  /// - Parameter configuration: What the adapter was made from.
  /// - Returns: The same with what the adapter has learnt since.
  func configuration(_ configuration: any AdapterConfiguration) -> any AdapterConfiguration

  /// What files hold.
  ///
  /// - Parameter tensors: The adapter's tensors by the keys they have without this.
  /// - Returns: Tensors by the keys of the file.
  func stored(_ tensors: [(key: String, tensor: Tensor)]) -> [(key: String, tensor: Tensor)]

  /// The configuration that checkpoints of a run have, if not that of files.
  ///
  /// - Parameter configuration: What the adapter was made from.
  /// - Returns: What an adapter is made from that takes in ``checkpointed(_:)``.
  func checkpointed(_ configuration: any AdapterConfiguration) -> any AdapterConfiguration

  /// What checkpoints of a run hold, if not what files hold.
  ///
  /// - Parameter tensors: The adapter's tensors by the keys they have without this.
  /// - Returns: Tensors by the keys of the file, from which training goes on.
  func checkpointed(
    _ tensors: [(key: String, tensor: Tensor)]
  ) -> [(key: String, tensor: Tensor)]

  /// The inverse of ``stored(_:)``.
  ///
  /// - Parameters:
  ///   - tensors: What the file holds.
  ///   - configuration: The file's configuration.
  /// - Returns: The adapter's tensors.
  /// - Throws: ``AdapterError`` when the file contradicts itself.
  func restored(
    _ tensors: [String: Tensor], _ configuration: any AdapterConfiguration
  ) throws(AdapterError) -> [String: Tensor]

  /// Writes what belongs beside the adapter's two files.
  ///
  /// - Parameter directory: The adapter's directory, which is there.
  /// - Throws: `CheckpointError` when it cannot be written.
  func save(in directory: String) throws
}

extension AdapterStorage {
  func save(in directory: String) throws {}

  func configuration(_ configuration: any AdapterConfiguration) -> any AdapterConfiguration {
    configuration
  }

  func checkpointed(_ configuration: any AdapterConfiguration) -> any AdapterConfiguration {
    self.configuration(configuration)
  }

  func checkpointed(
    _ tensors: [(key: String, tensor: Tensor)]
  ) -> [(key: String, tensor: Tensor)] { stored(tensors) }
}

/// What a method does in training beside its gradients.
protocol AdapterTraining: AnyObject {
  /// Called before the first update.
  ///
  /// - Parameter updates: Updates of the whole run.
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)`` when the schedule does not fit it.
  func begin(updates: Int) throws(AdapterError)
  /// Added to the loss of each micro-batch; nil for nothing.
  func penalty() -> Tensor?
  /// The same beside what other adapters of the model do, for methods that take means over all of them.
  ///
  /// - Parameter acting: What all adapters that act do, this one among them.
  /// - Returns: A scalar; nil for nothing.
  func penalty(among acting: [any AdapterTraining]) -> Tensor?
  /// Called after each update, before gradients are forgotten.
  func didStep(_ step: Int, of total: Int)
  /// What has to be saved for a run to go on.
  var state: [(name: String, tensor: Tensor)] { get }
  /// Takes back what was saved.
  func restore(_ state: [String: Tensor])
}

extension AdapterTraining {
  func begin(updates: Int) throws(AdapterError) {}
  func penalty() -> Tensor? { nil }
  func penalty(among acting: [any AdapterTraining]) -> Tensor? { penalty() }
  func didStep(_ step: Int, of total: Int) {}
}

extension LayerMethod {
  static var isMergeable: Bool { true }
  static var groupsByTargetName: Bool { false }

  func completed(modelType: String?) throws(AdapterError) -> Self { self }

  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    var made: [any LayerAdapter] = []
    for site in sites { made.append(try adapter(for: site)) }
    return LayerAdapters(layers: made)
  }

  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    preconditionFailure("\(Self.type) makes its adapters all together")
  }

  /// What is wrong with a layer's shape.
  func misfit(_ site: LayerSite, field: String, expected: String, actual: String) -> AdapterError {
    .configuration(field: "\(field) for \(site.path)", expected: expected, actual: actual)
  }
}
