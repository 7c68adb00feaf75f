import Layers
import Models
import Tensors

/// An adapter that was put into a model.
final class PlacedAdapter {
  var name: String
  /// Its configuration; a start that is found from data may settle ranks and layers.
  var configuration: any AdapterConfiguration
  /// What it was made from.
  var origin: AdapterMaking
  /// Paths of the layers that have it.
  var targets: [String] = []
  /// Its tensors by the keys of its file.
  var parameters: [(key: String, own: AdapterParameter)] = []
  /// Parameters of the model that it replaces while it acts.
  var replacements: [ModuleReplacement] = []
  /// Its virtual tokens, where it has some.
  var prompt: PlacedPrompt?
  /// Rows that it replaces, by the paths of their modules.
  var tokens: [String: Set<Int>] = [:]
  /// What it does between steps of training.
  var training: (any AdapterTraining)?
  /// What its settings were changed to, to fit the model.
  var warnings: [String] = []
  /// How its files differ from what is in memory.
  var storage: (any AdapterStorage)?
  /// Keys under which files may repeat what layers share.
  var repeatedKeys: Set<String> = []
  /// The adapters of the model's parts.
  var layers: [(path: String, adapter: any PartAdapter)] = []
  /// Called when it begins or ceases to act, for what is not a layer's adapter.
  var onActivation: ((_ isActive: Bool) -> Void)?
  /// What takes part in whole passes of the model while it acts; only one adapter's can.
  var companion: (any PassCompanion)?

  init(name: String, _ configuration: any AdapterConfiguration) {
    self.name = name
    self.configuration = configuration
    origin = AdapterMaking(configuration: configuration)
  }

  /// What its file holds.
  var storedTensors: [(name: String, tensor: Tensor)] { tensors() }

  /// What its file or a run's checkpoint holds.
  func tensors(ofCheckpoint isCheckpoint: Bool = false) -> [(name: String, tensor: Tensor)] {
    let own = parameters.map { (key: $0.key, tensor: $0.own.stored) }
    let held = isCheckpoint ? storage?.checkpointed(own) : storage?.stored(own)
    return (held ?? own).map { ($0.key, $0.tensor) }
  }

  /// Puts its replacements in place, or the original parameters.
  func act(_ isActive: Bool) {
    for entry in replacements { entry.put(replaced: isActive) }
    onActivation?(isActive)
  }
}

/// What an adapter was made from, so that it can be made again over another base.
struct AdapterMaking {
  var configuration: any AdapterConfiguration
  var seed: UInt64 = 0
  var isStrict = true
  var dtype: DType?
  /// The directory that its numbers are from; nil for one that begins as new.
  var directory: String?
}

/// A part of a model with adapters, and where it stands.
struct AdaptedPlace {
  let path: String
  let part: any AdaptedPart
  /// Puts the part's base in its place.
  let putBack: () -> Void

  init?(path: String, module: any Module) {
    self.path = path
    switch module {
    case let layer as Linear:
      guard let own = layer.projection as? AdaptedProjection else { return nil }
      part = own
      putBack = { layer.projection = own.base }
    case let layer as Embedding:
      guard let own = layer.table as? AdaptedTable else { return nil }
      part = own
      putBack = { layer.table = own.base }
    case let layer as Convolution:
      guard let own = layer.kernels as? AdaptedKernels else { return nil }
      part = own
      putBack = { layer.kernels = own.base }
    default: return nil
    }
  }
}

/// A module whose parameters an adapter replaces by copies of its own, which are trained.
struct ModuleReplacement {
  let path: String
  let module: any Module
  let original: [(name: String, parameter: Parameter)]
  let copy: [(name: String, parameter: Parameter)]
  /// Names of those that files hold transposed.
  private let transposed: Set<String>
  /// What stands between the module's path and a parameter's name in files; empty for nothing.
  let infix: String
  /// What files put before the module's path.
  let prefix: String

  /// Copies a module's parameters; those that `other` has a copy of are that copy.
  init(
    _ module: any Module, path: String, infix: String = "", prefix: String = keyPrefix,
    sharing other: ModuleReplacement? = nil
  ) {
    (self.path, self.module, self.infix) = (path, module, infix)
    self.prefix = prefix
    transposed = module.pathsTransposedInFiles
    var original: [(name: String, parameter: Parameter)] = []
    for (inner, owner) in module.modules() {
      owner.mapParameters { own, parameter in
        original.append((joined(inner, own), parameter))
        return parameter
      }
    }
    self.original = original
    let known = Dictionary(
      zip(other?.original ?? [], other?.copy ?? []).map { ($0.parameter, $1.parameter) },
      uniquingKeysWith: { first, _ in first })
    copy = original.map {
      ($0.name, known[$0.parameter] ?? Parameter($0.parameter.value.detached().cloned()))
    }
  }

  /// The copies by the keys of files.
  var parameters: [(key: String, own: AdapterParameter)] {
    copy.map {
      let name = joined(infix, $0.name)
      return (
        prefix + joined(path, name),
        AdapterParameter(
          name, $0.parameter, isTransposedInFiles: transposed.contains($0.name))
      )
    }
  }

  func put(replaced: Bool) {
    var parameters = (replaced ? copy : original).makeIterator()
    for (_, owner) in module.modules() {
      owner.mapParameters { _, parameter in parameters.next()?.parameter ?? parameter }
    }
  }
}
