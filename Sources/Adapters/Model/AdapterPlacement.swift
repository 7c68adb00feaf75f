import Layers
import Models
import Tensors

/// Puts an adapter into a model.
struct AdapterPlacement {
  let model: any Module
  let context: AdapterContext
  /// Type of the adapter's numbers; nil for float32, or float64 beside such a base.
  var dtype: DType?
  /// Whether a file is about to give the adapter's tensors.
  var isLoading = false

  /// Adds an adapter, which does not act yet.
  ///
  /// The model is changed only when everything fits.
  ///
  /// - Parameters:
  ///   - name: Its name.
  ///   - configuration: The adapter.
  ///   - generator: Source of its initial numbers.
  ///   - isStrict: Whether every name of a list of targets must match something.
  /// - Returns: What was put where.
  /// - Throws: ``AdapterError`` when it does not fit the model.
  func place(
    _ name: String, _ configuration: any AdapterConfiguration, generator: Generator, isStrict: Bool
  ) throws(AdapterError) -> PlacedAdapter {
    try configuration.validate()
    var configuration = configuration
    if let method = configuration as? any LayerMethod {
      configuration = try method.completed(modelType: TargetMatching(model).modelType)
    }
    let site = try modelSite(configuration, generator, isStrict)
    if let site, let method = configuration as? any ModelMethod {
      configuration = try method.completed(for: site)
    }
    let placed = PlacedAdapter(name: name, configuration)
    placed.replacements = try copies(of: configuration.modulesToSave)
    switch configuration {
    case let method as any ModelMethod: try placeModel(method, placed, site)
    case let method as any LayerMethod: try placeLayers(method, placed, generator, isStrict)
    case let method as any ReplacementMethod:
      placed.replacements += try replacements(method, isStrict)
    default: throw .impossible(method: type(of: configuration).type, what: "put into this model")
    }
    placed.parameters += placed.replacements.flatMap(\.parameters)
    return placed
  }

  private func placeLayers(
    _ method: any LayerMethod, _ placed: PlacedAdapter, _ generator: Generator, _ isStrict: Bool
  ) throws(AdapterError) {
    let matching = TargetMatching(model)
    placed.targets = try matching.targets(of: method, isStrict: isStrict)
    let layers = Dictionary(
      model.modules().compactMap { entry in (entry.module as? Linear).map { (entry.path, $0) } },
      uniquingKeysWith: { first, _ in first })
    let chosen = placed.targets.compactMap { path in layers[path].map { (path, $0) } }
    let sites = chosen.map { path, layer in
      LayerSite(
        path: path, base: (layer.projection as? AdaptedProjection)?.original ?? layer.projection,
        generator: generator, isLoading: isLoading, wantedType: dtype)
    }
    var method = method
    if type(of: method).groupsByTargetName {
      let paths = model.modules().map(\.path)
      method.targetModules = try matching.named(method, targets: placed.targets, among: paths)
    }
    let made = try method.adapters(for: sites)
    for ((path, layer), adapter) in zip(chosen, made.layers) {
      let projection =
        layer.projection as? AdaptedProjection
        ?? AdaptedProjection(base: layer.projection, context: context)
      projection.add(placed.name, adapter)
      layer.projection = projection
      placed.parameters += adapter.parameters.map { (keyPrefix + joined(path, $0.name), $0) }
      placed.repeatedKeys.formUnion(made.repeated.map { keyPrefix + joined(path, $0) })
    }
    placed.layers = made.layers
    placed.storage = made.storage
    placed.parameters += made.shared.map { ("base_model." + $0.name, $0) }
    placed.parameters += biases(method, placed.targets)
    placed.training = made.training
  }

  /// The model's biases that are trained with the adapter.
  private func biases(
    _ method: any LayerMethod, _ targets: [String]
  ) -> [(key: String, own: AdapterParameter)] {
    guard method.selection.bias != .none else { return [] }
    var result: [(key: String, own: AdapterParameter)] = []
    for (path, module) in model.modules() where !(module is Linear) {
      guard method.selection.bias == .all || targets.contains(where: { path == $0 + ".base_layer" })
      else { continue }
      module.mapParameters { name, parameter in
        if name == "bias" {
          result.append((keyPrefix + joined(path, name), AdapterParameter(name, parameter)))
        }
        return parameter
      }
    }
    for (path, module) in model.modules() {
      guard method.selection.bias == .all, let layer = module as? Linear,
        !(layer.projection is AdaptedProjection)
      else { continue }
      layer.mapParameters { name, parameter in
        if name == "bias" {
          result.append((keyPrefix + joined(path, name), AdapterParameter(name, parameter)))
        }
        return parameter
      }
    }
    return result
  }

  /// Copies of the modules that a method replaces.
  private func replacements(
    _ method: any ReplacementMethod, _ isStrict: Bool
  ) throws(AdapterError) -> [ModuleReplacement] {
    let candidates = model.modules().filter { entry in
      !(entry.module is any LinearProjection) && !(entry.module is Linear) && entry.module.hasOwn
    }
    let chosen = try TargetMatching(model, among: candidates.map(\.path))
      .targets(of: method, isStrict: isStrict)
    return candidates.filter { chosen.contains($0.path) }.map {
      ModuleReplacement($0.module, path: $0.path, infix: type(of: method).infix)
    }
  }

  /// Copies of modules that are trained whole.
  private func copies(of names: [String]) throws(AdapterError) -> [ModuleReplacement] {
    var result: [ModuleReplacement] = []
    let modules = model.modules()
    // What is inside an adapted layer is no module of the model's own.
    let own = modules.filter { !($0.module is any LinearProjection) }
    for name in names {
      // PEFT's rule: the end of the path, dot or not. "norm" means every norm of a Llama.
      let found = own.filter { $0.path.hasSuffix(name) }
      guard !name.isEmpty, !found.isEmpty else {
        let known = Set(own.compactMap { $0.path.split(separator: ".").last.map(String.init) })
        throw .configuration(
          field: "modules_to_save", expected: "names of " + known.sorted().joined(separator: ", "),
          actual: name)
      }
      for (path, module) in found {
        guard module.modules().allSatisfy({ $0.module.storedCount == 0 }) else {
          throw .configuration(
            field: "modules_to_save", expected: "modules that are not quantised", actual: path)
        }
        result.append(ModuleReplacement(module, path: path))
      }
    }
    return result
  }
}

extension Module {
  /// Whether the module itself, not its parts, has parameters.
  fileprivate var hasOwn: Bool {
    var found = false
    mapParameters { _, parameter in
      found = true
      return parameter
    }
    return found
  }
}
