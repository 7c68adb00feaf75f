import Foundation
public import Layers
public import Models
import Tensors

/// A model with adapters.
///
/// Wrapping changes the model in place: its linear layers get projections that add the adapters'
/// updates. Its own weights are frozen.
public final class PeftModel {
  /// The wrapped model.
  public let base: DecoderForCausalLM
  /// What the adapters share while the model runs.
  public let context: AdapterContext
  /// Configurations by adapter name, in the order they were added.
  public private(set) var configurations: [(name: String, configuration: LoRAConfig)] = []
  private(set) var targets: [String: [String]] = [:]
  /// Modules that are trained whole, by adapter name: path and parameters before and now.
  private(set) var savedModules: [String: [SavedModule]] = [:]
  private let allPaths: [String]

  struct SavedModule {
    let path: String
    let module: any Module
    let original: [(name: String, parameter: Parameter)]
    let copy: [(name: String, parameter: Parameter)]
  }

  /// Wraps a model and adds a first adapter.
  ///
  /// - Parameters:
  ///   - base: The model; changed in place.
  ///   - configuration: The adapter.
  ///   - adapterName: Its name; files of one named "default" have no folder of their own.
  ///   - seed: Start of the random numbers of its initial weights and of dropout.
  /// - Throws: ``AdapterError`` when the configuration does not fit the model.
  public convenience init(
    _ base: DecoderForCausalLM, _ configuration: LoRAConfig, adapterName: String = "default",
    seed: UInt64 = 0
  ) throws(AdapterError) {
    try self.init(base, configuration, adapterName, seed: seed, isStrict: true)
  }

  /// Wraps a model; a file's list of targets may have names that match nothing.
  init(
    _ base: DecoderForCausalLM, _ configuration: LoRAConfig, _ adapterName: String, seed: UInt64,
    isStrict: Bool
  ) throws(AdapterError) {
    self.base = base
    context = AdapterContext(generator: Generator(seed: seed, device: base.device))
    base.model.dropoutGenerator = context.generator
    allPaths = base.modules().map(\.path)
    for (_, parameter) in base.parameters() { parameter.isTrainable = false }
    try add(adapterName, configuration, seed: seed, isStrict: isStrict)
    context.active = [adapterName]
    setTrainable(adapterName, true)
  }

  /// Adds another adapter, which does not act yet.
  ///
  /// - Parameters:
  ///   - name: Its name.
  ///   - configuration: The adapter.
  ///   - seed: Start of the random numbers of its initial weights.
  /// - Throws: ``AdapterError`` when the name is taken or the configuration does not fit.
  public func addAdapter(
    _ name: String, _ configuration: LoRAConfig, seed: UInt64 = 0
  ) throws(AdapterError) {
    try add(name, configuration, seed: seed, isStrict: true)
  }

  func add(
    _ name: String, _ configuration: LoRAConfig, seed: UInt64, isStrict: Bool
  ) throws(AdapterError) {
    guard !name.isEmpty, !name.contains(".") else {
      throw .configuration(field: "adapter name", expected: "a name without dots", actual: name)
    }
    guard targets[name] == nil else { throw .name(name, exists: true) }
    let injection = LoRAInjection(model: base, headPath: "lm_head", context: context)
    targets[name] = try injection.add(
      name, configuration, generator: Generator(seed: seed), isStrict: isStrict)
    savedModules[name] = try copyModules(configuration.modulesToSave)
    configurations.append((name, configuration))
  }

  /// Lets other adapters act; several add up.
  ///
  /// - Parameters:
  ///   - names: Adapters that act from now on.
  ///   - trainable: Whether the first of them is trained.
  /// - Throws: ``AdapterError/name(_:exists:)`` for one that is not there.
  public func setAdapter(_ names: [String], trainable: Bool = false) throws(AdapterError) {
    for name in names where targets[name] == nil { throw .name(name, exists: false) }
    for (name, _) in configurations { setTrainable(name, false) }
    for name in context.active { putModules(name, saved: false) }
    context.active = names
    for name in names.prefix(1) {
      putModules(name, saved: true)
      if trainable { setTrainable(name, true) }
    }
  }

  /// Runs `body` as if there were no adapters.
  ///
  /// - Parameter body: What to run.
  /// - Returns: What `body` returns.
  public func withAdaptersDisabled<Result>(_ body: () throws -> Result) rethrows -> Result {
    let before = context.isEnabled
    context.isEnabled = false
    for name in context.active { putModules(name, saved: false) }
    defer {
      context.isEnabled = before
      for name in context.active.prefix(1) { putModules(name, saved: true) }
    }
    return try body()
  }

  /// Parameters that belong to an adapter, with the keys of its file.
  ///
  /// - Parameter name: The adapter; nil for the first active one.
  /// - Returns: Keys without the adapter's name, in the order of the model.
  public func adapterParameters(_ name: String? = nil) -> [(key: String, parameter: Parameter)] {
    let name = name ?? context.active.first ?? "default"
    let configuration = configurations.first { $0.name == name }?.configuration
    var result: [(key: String, parameter: Parameter)] = []
    let saved = savedModules[name] ?? []
    for (path, parameter) in base.parameters() {
      if let cut = path.range(of: ".\(name).weight"), path.contains(".lora_") {
        result.append(
          (PeftModel.prefix + path.replacingCharacters(in: cut, with: ".weight"), parameter))
      } else if path.hasSuffix(".bias"), let bias = configuration?.bias, bias != .none,
        bias == .all || path.hasSuffix(".base_layer.bias")
      {
        result.append((PeftModel.prefix + path, parameter))
      }
    }
    for module in saved {
      for (inner, parameter) in module.copy {
        result.append((PeftModel.prefix + module.path + "." + inner, parameter))
      }
    }
    return result
  }

  /// Parameters that training changes, each once.
  public var trainableParameters: [(key: String, parameter: Parameter)] {
    adapterParameters().filter { $0.parameter.isTrainable }
  }

  /// How much of the model is trained, in PEFT's words.
  ///
  /// - Returns: For example "trainable params: 1,792 || all params: 21,408 || trainable%: 8.3707".
  public func trainableParametersDescription() -> String {
    var seen: Set<Parameter> = []
    var (trainable, all) = (0, 0)
    let saved = savedModules.values.flatMap { $0 }.flatMap { $0.copy + $0.original }
    for parameter in base.parameters().map(\.parameter) + saved.map(\.parameter)
    where seen.insert(parameter).inserted {
      all += parameter.count
      if parameter.isTrainable { trainable += parameter.count }
    }
    for (_, module) in base.modules() { all += module.storedCount }
    let share = 100 * Double(trainable) / Double(max(all, 1))
    return "trainable params: \(trainable.grouped) || all params: \(all.grouped) "
      + "|| trainable%: \(share.fixed(4))"
  }

  /// Prints ``trainableParametersDescription()`` to standard output, as PEFT's method of this name.
  public func printTrainableParameters() { print(trainableParametersDescription()) }

  /// What precedes a module's path in an adapter file.
  static let prefix = "base_model.model."

  func targetNames(_ name: String) -> [String] {
    let matching = TargetMatching(base, headPath: "lm_head")
    return matching.shortestNames(for: targets[name] ?? [], among: allPaths)
  }

  private func setTrainable(_ name: String, _ value: Bool) {
    for (_, parameter) in adapterParameters(name) {
      // A parameter over a mapped file is copied before anything may write to it.
      if value && !parameter.isTrainable { parameter.value = parameter.value.detached().cloned() }
      parameter.isTrainable = value
    }
  }

  private func copyModules(_ names: [String]) throws(AdapterError) -> [SavedModule] {
    var result: [SavedModule] = []
    let modules = base.modules()
    for name in names {
      // PEFT's rule: the end of the path, dot or not. "norm" means every norm of a Llama.
      let found = modules.filter { $0.path.hasSuffix(name) && !$0.path.contains("lora_") }
      guard !name.isEmpty, !found.isEmpty else {
        let known = Set(modules.compactMap { $0.path.split(separator: ".").last.map(String.init) })
        throw .configuration(
          field: "modules_to_save", expected: "names of " + known.sorted().joined(separator: ", "),
          actual: name)
      }
      for (path, module) in found {
        guard module.modules().allSatisfy({ $0.module.storedCount == 0 }) else {
          throw .configuration(
            field: "modules_to_save", expected: "modules that are not quantised", actual: path)
        }
        var original: [(name: String, parameter: Parameter)] = []
        var copy: [(name: String, parameter: Parameter)] = []
        for (inner, owner) in module.modules() {
          owner.mapParameters { own, parameter in
            let made = Parameter(parameter.value.detached().cloned())
            original.append((joined(inner, own), parameter))
            copy.append((joined(inner, own), made))
            return made
          }
        }
        result.append(SavedModule(path: path, module: module, original: original, copy: copy))
      }
    }
    return result
  }

  private func putModules(_ name: String, saved: Bool) {
    for entry in savedModules[name] ?? [] {
      var parameters = (saved ? entry.copy : entry.original).makeIterator()
      for (_, owner) in entry.module.modules() {
        owner.mapParameters { _, parameter in parameters.next()?.parameter ?? parameter }
      }
    }
  }
}

extension Int {
  /// With commas between thousands.
  fileprivate var grouped: String {
    var digits = String(self)
    var index = digits.index(digits.endIndex, offsetBy: -3, limitedBy: digits.startIndex)
    while let place = index, place > digits.startIndex {
      digits.insert(",", at: place)
      index = digits.index(place, offsetBy: -3, limitedBy: digits.startIndex)
    }
    return digits
  }
}

extension Double {
  fileprivate func fixed(_ digits: Int) -> String {
    String(format: "%.\(digits)f", self)
  }
}
