import Layers
import Models
import Tensors

/// An adapter that was put into a model.
final class PlacedAdapter {
  var name: String
  let configuration: any AdapterConfiguration
  /// Paths of the layers that have it.
  var targets: [String] = []
  /// Its tensors by the keys of its file.
  var parameters: [(key: String, own: AdapterParameter)] = []
  /// Parameters of the model that it replaces while it acts.
  var replacements: [ModuleReplacement] = []
  /// What it does between steps of training.
  var training: (any AdapterTraining)?
  /// How its files differ from what is in memory.
  var storage: (any AdapterStorage)?
  /// Keys under which files may repeat what layers share.
  var repeatedKeys: Set<String> = []
  /// The layers' adapters.
  var layers: [any LayerAdapter] = []
  /// Called when it begins or ceases to act, for what is not a layer's adapter.
  var onActivation: ((_ isActive: Bool) -> Void)?
  /// What takes part in whole passes of the model while it acts; only one adapter's can.
  var companion: (any PassCompanion)?

  init(name: String, _ configuration: any AdapterConfiguration) {
    self.name = name
    self.configuration = configuration
  }

  /// What its file holds.
  var storedTensors: [(name: String, tensor: Tensor)] {
    let own = parameters.map { (key: $0.key, tensor: $0.own.parameter.value) }
    return (storage?.stored(own) ?? own).map { ($0.key, $0.tensor) }
  }

  /// Puts its replacements in place, or the original parameters.
  func act(_ isActive: Bool) {
    for entry in replacements { entry.put(replaced: isActive) }
    onActivation?(isActive)
  }
}

/// A module whose parameters an adapter replaces by copies of its own, which are trained.
struct ModuleReplacement {
  let path: String
  let module: any Module
  let original: [(name: String, parameter: Parameter)]
  let copy: [(name: String, parameter: Parameter)]
  /// What stands between the module's path and a parameter's name in files; empty for nothing.
  let infix: String

  init(_ module: any Module, path: String, infix: String = "") {
    (self.path, self.module, self.infix) = (path, module, infix)
    var original: [(name: String, parameter: Parameter)] = []
    for (inner, owner) in module.modules() {
      owner.mapParameters { own, parameter in
        original.append((joined(inner, own), parameter))
        return parameter
      }
    }
    self.original = original
    copy = original.map { ($0.name, Parameter($0.parameter.value.detached().cloned())) }
  }

  /// The copies by the keys of files.
  var parameters: [(key: String, own: AdapterParameter)] {
    copy.map {
      let name = joined(infix, $0.name)
      return (keyPrefix + joined(path, name), AdapterParameter(name, $0.parameter))
    }
  }

  func put(replaced: Bool) {
    var parameters = (replaced ? copy : original).makeIterator()
    for (_, owner) in module.modules() {
      owner.mapParameters { _, parameter in parameters.next()?.parameter ?? parameter }
    }
  }
}
