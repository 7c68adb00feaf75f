import Foundation
import Layers
import Models

/// Finds the layers of a model that a configuration means, by PEFT's rules.
struct TargetMatching {
  /// Paths of the modules that can be meant, in the order of the model.
  let candidatePaths: [String]
  /// Paths of the linear layers, which "all-linear" means.
  let linearPaths: [String]
  /// Path of the output head, which "all-linear" leaves out; nil where there is none.
  let headPath: String?
  /// The `model_type`, which decides the default; nil where there is none.
  let modelType: String?

  /// Looks at a model.
  ///
  /// - Parameters:
  ///   - model: The model.
  ///   - method: What is to be put on its layers; nil for a method that adapts linear layers.
  ///   - paths: Which modules can be meant; nil for the layers that the method can adapt.
  init(
    _ model: any Module, for method: (any LayerConfiguration)? = nil, among paths: [String]? = nil
  ) {
    let modules = model.modules()
    linearPaths = modules.filter { $0.module is Linear }.map(\.path)
    candidatePaths =
      paths
      ?? modules.filter { Self.canAdapt($0.module, method) }.map(\.path)
    headPath = (model as? any AdaptableModel)?.outputHeadPath
    modelType = (model as? any AdaptableModel)?.modelType
  }

  /// Whether a method, or one that adapts linear layers, can adapt a module.
  private static func canAdapt(
    _ module: any Module, _ method: (any LayerConfiguration)?
  ) -> Bool {
    switch module {
    case is Linear: true
    case is Embedding: method is any EmbeddingMethod || method is any TableMatrixMethod
    case is Convolution: method is any ConvolutionMethod || method is any KernelMatrixMethod
    default: false
    }
  }

  /// The layers that get an adapter.
  ///
  /// - Parameters:
  ///   - configuration: What is meant.
  ///   - isStrict: Whether every name of a list must match something; PEFT is silent about those that
  ///     do not, so that its files may have some.
  /// - Returns: Paths in the order of the model.
  /// - Throws: ``AdapterError`` when nothing matches, or some name does not and that is strict.
  func targets(
    of configuration: any LayerConfiguration, isStrict: Bool
  ) throws(AdapterError) -> [String] {
    let excluded = try excludedPaths(configuration)
    let parameters = try parameterTargets(configuration)
    if !parameters.isEmpty, configuration.targetModules == nil,
      modelType.flatMap({ type(of: configuration).defaultTargets(modelType: $0) }) == nil
    {
      return parameters
    }
    let chosen = try chosenTargets(configuration)
    let candidates = candidatePaths.filter { !excluded.contains($0) }
    var result: [String]
    switch chosen {
    case .allLinear:
      let linear = Set(linearPaths)
      result = candidates.filter { linear.contains($0) && $0 != headPath }
    case .pattern(let pattern):
      let expression = try regularExpression(pattern, field: "target_modules")
      result = candidates.filter(expression.matches)
    case .names(let names):
      let unmatched = names.filter { name in !candidatePaths.contains { Self.matches($0, name) } }
      // PEFT's own choice for a type of model may name layers that only some of them have.
      let isGiven = configuration.targetModules != nil
      guard unmatched.isEmpty || !isStrict || !isGiven else {
        throw .noSuchModules(names: unmatched, known: suffixes)
      }
      result = candidates.filter { path in names.contains { Self.matches(path, $0) } }
    }
    if let layers = configuration.layersToTransform {
      result = result.filter { path in
        Self.layerIndex(path, patterns: configuration.layersPattern).map(layers.contains) ?? false
      }
    }
    guard !result.isEmpty || !parameters.isEmpty else {
      throw .noSuchModules(names: [describe(chosen)], known: suffixes)
    }
    guard !parameters.isEmpty else { return result }
    if let both = parameters.first(where: result.contains) {
      throw .configuration(
        field: "target_parameters", expected: "layers that target_modules leaves out", actual: both)
    }
    let all = Set(result + parameters)
    return candidatePaths.filter(all.contains)
  }

  /// The linear layers whose weights `target_parameters` names.
  private func parameterTargets(
    _ configuration: any LayerConfiguration
  ) throws(AdapterError) -> [String] {
    let names = (configuration as? LoRAConfig)?.targetParameters ?? []
    var found: Set<String> = []
    for name in names {
      let own = linearPaths.filter { Self.matches($0 + ".weight", name) }
      guard !own.isEmpty else {
        throw .configuration(
          field: "target_parameters",
          expected: "weights of linear layers, for example \(suffixes.first ?? "q_proj").weight",
          actual: name)
      }
      found.formUnion(own)
    }
    return linearPaths.filter(found.contains)
  }

  /// Whether a path is a name or ends with a dot and it.
  static func matches(_ path: String, _ name: String) -> Bool {
    path == name || path.hasSuffix("." + name)
  }

  /// Whether a path is that of a module, or of a part of one, whose own path ends with one of some
  /// names, dot or not: PEFT's rule for `modules_to_save`.
  static func isInside(_ path: String, modulesEndingWith names: [String]) -> Bool {
    var whole = ""
    return path.split(separator: ".").contains { part in
      whole += (whole.isEmpty ? "" : ".") + part
      return names.contains { !$0.isEmpty && whole.hasSuffix($0) }
    }
  }

  /// Whether an expression matches a whole path.
  static func matches(
    _ path: String, pattern: String, field: String
  ) throws(AdapterError) -> Bool {
    try regularExpression(pattern, field: field).matches(path)
  }

  /// The number of the block that a path lies in: the first numeric part that has a name before it,
  /// or the one behind one of the patterns.
  static func layerIndex(_ path: String, patterns: [String]) -> Int? {
    let parts = path.split(separator: ".")
    for (index, part) in parts.enumerated() {
      guard let number = Int(part), index > 0 else { continue }
      if patterns.isEmpty ? index > 1 : patterns.contains(String(parts[index - 1])) {
        return number
      }
    }
    return nil
  }

  /// The shortest names that stand for exactly these layers, sorted.
  ///
  /// As PEFT does for "all-linear": each path is cut to the shortest ending, at a dot, that no other
  /// module shares.
  func shortestNames(for targets: [String], among allPaths: [String]) -> [String] {
    let chosen = Set(targets)
    let others = allPaths.filter { !chosen.contains($0) }
    var names: Set<String> = []
    for path in targets {
      let parts = path.split(separator: ".")
      let cut = (1...parts.count).lazy.map { parts.suffix($0).joined(separator: ".") }
        .first { name in !others.contains { Self.matches($0, name) } }
      names.insert(cut ?? path)
    }
    return names.sorted()
  }

  /// What a file says of the layers that a configuration meant in this model: "all-linear" by names,
  /// as it means other layers in another model, and nothing by what PEFT takes for it.
  ///
  /// - Parameters:
  ///   - configuration: What is meant.
  ///   - targets: Paths of the layers that have the adapter.
  ///   - allPaths: Paths of all modules without adapters.
  /// - Returns: Names or an expression.
  /// - Throws: ``AdapterError`` when nothing is said and the type of model has no default.
  func named(
    _ configuration: any LayerConfiguration, targets: [String], among allPaths: [String]
  ) throws(AdapterError) -> TargetModules {
    let chosen = try chosenTargets(configuration)
    switch chosen {
    case .allLinear: break
    case .names(let names):
      // PEFT puts an adapter on a layer that is trained whole, and fails: such names are told apart.
      let saved = candidatePaths.filter {
        Self.isInside($0, modulesEndingWith: configuration.modulesToSave)
      }
      guard saved.contains(where: { path in names.contains { Self.matches(path, $0) } }) else {
        return chosen
      }
    case .pattern: return chosen
    }
    let own = try parameterTargets(configuration)
    return .names(shortestNames(for: targets.filter { !own.contains($0) }, among: allPaths))
  }

  /// The value that a pattern table gives a layer, else the default.
  ///
  /// Keys are expressions for the end of a path, the first match counts.
  static func value<Value>(
    for path: String, in table: [(pattern: String, value: Value)], default fallback: Value
  ) throws(AdapterError) -> Value {
    for (pattern, value) in table {
      let expression = try regularExpression("(.*\\.)?(\(pattern))", field: "rank_pattern")
      if expression.matches(path) { return value }
    }
    return fallback
  }

  /// What is asked for, or PEFT's default for the type of model.
  func chosenTargets(
    _ configuration: any LayerConfiguration
  ) throws(AdapterError) -> TargetModules {
    let selection = configuration.selection
    if selection.layersToTransform == nil, !selection.layersPattern.isEmpty {
      throw .configuration(
        field: "layers_pattern", expected: "layers_to_transform beside it", actual: "none")
    }
    if selection.layersToTransform != nil, case .pattern = selection.targetModules {
      throw .configuration(
        field: "layers_to_transform", expected: "a list of target_modules", actual: "an expression")
    }
    if let chosen = selection.targetModules { return chosen }
    let method = type(of: configuration)
    guard let found = modelType.flatMap({ method.defaultTargets(modelType: $0) }) else {
      throw .configuration(
        field: "target_modules",
        expected: "names, as \(method.type) has no default for models of type "
          + "\(modelType ?? "unknown"); the model has \(suffixes.joined(separator: ", "))",
        actual: "nothing")
    }
    return found
  }

  private func excludedPaths(_ configuration: any LayerConfiguration) throws(AdapterError) -> Set<
    String
  > {
    var excluded: Set<String> = []
    switch configuration.excludeModules {
    case .names(let names):
      excluded.formUnion(
        candidatePaths.filter { path in names.contains { Self.matches(path, $0) } })
    case .pattern(let pattern):
      let expression = try regularExpression(pattern, field: "exclude_modules")
      excluded.formUnion(candidatePaths.filter(expression.matches))
    case .allLinear, nil: break
    }
    excluded.formUnion(
      candidatePaths.filter { Self.isInside($0, modulesEndingWith: configuration.modulesToSave) })
    return excluded
  }

  /// Last parts of the paths that can be meant, for messages.
  private var suffixes: [String] {
    Array(Set(candidatePaths.map { String($0.split(separator: ".").last ?? "") })).sorted()
  }

  private func describe(_ targets: TargetModules) -> String {
    switch targets {
    case .names(let names): names.joined(separator: ", ")
    case .pattern(let pattern): pattern
    case .allLinear: "all-linear"
    }
  }
}

/// An expression that must match a whole path, as Python's `re.fullmatch`.
struct PathExpression {
  private let expression: NSRegularExpression

  init?(_ pattern: String) {
    guard let expression = try? NSRegularExpression(pattern: "\\A(?:\(pattern))\\z") else {
      return nil
    }
    self.expression = expression
  }

  func matches(_ path: String) -> Bool {
    expression.firstMatch(in: path, range: NSRange(path.startIndex..., in: path)) != nil
  }
}

func regularExpression(
  _ pattern: String, field: String
) throws(AdapterError) -> PathExpression {
  guard let expression = PathExpression(pattern) else {
    throw .configuration(field: field, expected: "a regular expression", actual: pattern)
  }
  return expression
}
