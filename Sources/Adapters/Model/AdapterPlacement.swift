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
    var configuration = fitted(try filled(configuration))
    if let method = configuration as? any LayerMethod {
      configuration = try method.completed(modelType: TargetMatching(model).modelType)
    }
    let tie = try (configuration as? LoRAConfig)?.tie(in: model)
    if let tie, let lora = configuration as? LoRAConfig { configuration = try lora.tied(tie) }
    let site = try modelSite(configuration, generator, isStrict)
    if let site, let method = configuration as? any ModelMethod {
      configuration = try method.completed(for: site)
    }
    let placed = PlacedAdapter(name: name, configuration)
    placed.replacements = try copies(
      of: configuration.modulesToSave,
      // Beside virtual tokens PEFT does not wrap the model a second time.
      prefix: configuration is any PromptMethod ? "base_model." : keyPrefix)
    if case .saved(let table)? = tie { tieCopies(table, placed) }
    switch configuration {
    case let method as any ModelMethod: try placeModel(method, placed, site)
    case let method as any LayerMethod: try placeLayers(method, placed, generator, isStrict, tie)
    case let method as any PromptMethod:
      try placePrompt(method, placed, generator)
    case let config as AdaptionPromptConfig: try placeAdaptionPrompt(config, placed, generator)
    case let config as TrainableTokensConfig: try placeTokens(config, placed, generator)
    case let method as any ReplacementMethod:
      placed.replacements += try replacements(method, isStrict)
    default: throw .impossible(method: type(of: configuration).type, what: "put into this model")
    }
    placed.parameters += placed.replacements.flatMap(\.parameters)
    return placed
  }

  private func placeLayers(
    _ method: any LayerMethod, _ placed: PlacedAdapter, _ generator: Generator, _ isStrict: Bool,
    _ tie: LoRATie?
  ) throws(AdapterError) {
    let matching = TargetMatching(model, for: method)
    placed.targets = try matching.targets(of: method, isStrict: isStrict)
      .filter { $0 != tie?.table.head }
    let modules = Dictionary(
      model.modules().map { ($0.path, $0.module) }, uniquingKeysWith: { first, _ in first })
    let linear = placed.targets.compactMap { path in
      (modules[path] as? Linear).map { (path, $0) }
    }
    try checkParameters((method as? LoRAConfig)?.targetParameters ?? [], linear)
    var (matrices, otherPaths): ([MatrixPlace], [String]) = ([], [])
    for path in placed.targets {
      let place = try matrixPlace(
        path, modules[path], method, generator, isOutputHead: path == matching.headPath)
      if let place { matrices.append(place) } else { otherPaths.append(path) }
    }
    var method = method
    if type(of: method).groupsByTargetName {
      let paths = model.modules().map(\.path)
      method.targetModules = try matching.named(method, targets: placed.targets, among: paths)
    }
    let made = try method.adapters(for: matrices.map(\.site))
    var others: [PartPlace] = []
    for path in otherPaths {
      others.append(try placing(method, modules[path], path, placed.name, generator))
    }
    for (place, adapter) in zip(matrices, made.layers) {
      let path = place.site.path
      placed.layers.append((path, place.put(placed.name, adapter)))
      placed.parameters += adapter.parameters.map { (keyPrefix + joined(path, $0.name), $0) }
      placed.repeatedKeys.formUnion(made.repeated.map { keyPrefix + joined(path, $0) })
    }
    for place in others {
      place.put()
      placed.layers.append((place.path, place.adapter))
      placed.parameters += place.adapter.parameters.map {
        (keyPrefix + joined(place.path, $0.name), $0)
      }
      placed.warnings += place.warnings
    }
    placed.storage = made.storage
    placed.warnings += made.warnings
    if case .targeted(let table)? = tie { tieHead(table, placed, method, modules) }
    placed.parameters += made.shared.map { ("base_model." + $0.name, $0) }
    placed.parameters += biases(method, placed.targets)
    placed.training = made.training
    if let tokens = (method as? any TokenTraining)?.trainableTokens {
      try placeTokens(tokens, placed, generator)
    }
  }

  /// Refuses single weights that files hold as [inputs, outputs]: PEFT takes what it finds there for
  /// [outputs, inputs], so that A and B would change places.
  private func checkParameters(
    _ names: [String], _ chosen: [(path: String, layer: Linear)]
  ) throws(AdapterError) {
    let found = chosen.first { path, layer in
      layer.isTransposedInFiles
        && names.contains { TargetMatching.matches(joined(path, "weight"), $0) }
    }
    if let found {
      throw .configuration(
        field: "target_parameters",
        expected:
          "weights that files hold as [outputs, inputs]; target_modules may name the others",
        actual: joined(found.path, "weight"))
    }
  }

  /// Lets the head have the embeddings' update.
  private func tieHead(
    _ table: TiedTable, _ placed: PlacedAdapter, _ method: any LayerMethod,
    _ modules: [String: any Module]
  ) {
    guard let own = placed.layers.first(where: { $0.path == table.embeddings })?.adapter,
      let embedding = own as? EmbeddingLoRA, let head = modules[table.head] as? Linear
    else { return }
    let adapter = TiedLoRA(embedding, dropout: (method as? LoRAConfig)?.dropout ?? 0)
    head.adapted(in: context).add(placed.name, adapter)
    placed.targets.append(table.head)
    placed.layers.append((table.head, adapter))
    placed.storage = TiedStorage(table)
  }

  /// Lets the head have the embeddings' copy.
  private func tieCopies(_ table: TiedTable, _ placed: PlacedAdapter) {
    guard let copy = placed.replacements.first(where: { $0.path == table.embeddings }),
      let head = model.modules().first(where: { $0.path == table.head })?.module
    else { return }
    placed.replacements.removeAll { $0.path == table.head }
    placed.replacements.append(ModuleReplacement(head, path: table.head, sharing: copy))
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
      !(entry.module is any LinearProjection) && !(entry.module is Linear)
        && !(entry.module is any EmbeddingTable) && !(entry.module is any ConvolutionKernels)
        && entry.module.hasOwn
    }
    let chosen = try TargetMatching(model, among: candidates.map(\.path))
      .targets(of: method, isStrict: isStrict)
    return candidates.filter { chosen.contains($0.path) }.map {
      ModuleReplacement($0.module, path: $0.path, infix: type(of: method).infix)
    }
  }

  /// Copies of modules that are trained whole.
  private func copies(
    of names: [String], prefix: String
  ) throws(AdapterError) -> [ModuleReplacement] {
    var result: [ModuleReplacement] = []
    let modules = model.modules()
    // What is inside an adapted layer is no module of the model's own.
    let own = modules.filter {
      !($0.module is any LinearProjection) && !($0.module is any EmbeddingTable)
        && !($0.module is any ConvolutionKernels)
    }
    for name in names {
      // PEFT's rule: the end of the path, dot or not. "norm" means every norm of a Llama.
      let found = own.filter { $0.path.hasSuffix(name) }
      if found.isEmpty, mayBeMissing(name) { continue }
      guard !name.isEmpty, !found.isEmpty else {
        let known = Set(own.compactMap { $0.path.split(separator: ".").last.map(String.init) })
        throw .configuration(
          field: "modules_to_save", expected: "names of " + known.sorted().joined(separator: ", "),
          actual: name)
      }
      for (path, module) in found where !result.contains(where: { $0.path == path }) {
        guard module.modules().allSatisfy({ $0.module.storedCount == 0 }) else {
          throw .configuration(
            field: "modules_to_save", expected: "modules that are not quantised", actual: path)
        }
        result.append(ModuleReplacement(module, path: path, prefix: prefix))
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
