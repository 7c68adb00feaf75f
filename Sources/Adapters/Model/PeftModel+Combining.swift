import Layers
import Tensors

extension PeftModel {
  /// Adds an adapter that is made of others, as PEFT's method of this name; it does not act yet.
  ///
  /// The default is exact, where PEFT's is the nearest of the largest rank; PEFT's other rules are to
  /// be had by their names. See ``LowRankAdapter/combined(_:_:originals:)`` for where the result
  /// differs from PEFT's.
  ///
  /// - Parameters:
  ///   - terms: LoRA adapters that are there, and their weights, which may be negative.
  ///   - name: The new adapter's name.
  ///   - combination: The rule.
  /// - Returns: How far each layer is from the weighted sum.
  /// - Throws: ``AdapterError`` when an adapter is not there or the name is taken,
  ///   ``DecompositionError`` when the adapters do not fit together or the rule.
  @discardableResult
  public func addWeightedAdapter(
    _ terms: [(adapter: String, weight: Double)], name: String,
    combination: AdapterCombination = AdapterCombination()
  ) throws -> [CombinedLayer] {
    var originals: [String: Tensor] = [:]
    var sources: [(adapter: LowRankAdapter, weight: Double)] = []
    for (source, weight) in terms {
      let placed = try adapter(named: source)
      sources.append((try lowRankAdapter(source), weight))
      let trainsBiases = (placed.configuration as? LoRAConfig).map { $0.bias != BiasTraining.none }
      guard trainsBiases != true else {
        throw AdapterError.conflict(
          "\(source) trains the model's biases, which one adapter alone can")
      }
      for entry in placed.replacements {
        for (own, original) in zip(entry.parameters, entry.original) {
          let value = original.parameter.value.detached()
          originals[own.key] = own.own.isTransposedInFiles ? value.transposed() : value
        }
      }
    }
    let (made, report) = try LowRankAdapter.combined(sources, combination, originals: originals)
    try add(name, made.configuration, seed: 0, isStrict: false)
    let tensors = Dictionary(made.tensors.map { ($0.key, $0.tensor) }, uniquingKeysWith: { $1 })
    let own = try adapter(named: name).parameters
    let missing = own.map(\.key).filter { tensors[$0] == nil }
    guard missing.isEmpty, own.count == tensors.count else {
      try deleteAdapter(name)
      throw AdapterError.keys(
        path: name, missing: missing,
        unexpected: Set(tensors.keys).subtracting(own.map(\.key)).sorted())
    }
    for (key, entry) in own {
      guard let value = tensors[key]?.detached() else { continue }
      entry.parameter.value =
        (entry.isTransposedInFiles ? value.transposed() : value).cloned()
      entry.parameter.isTrainable = false
    }
    return report
  }

  /// A LoRA adapter's updates by layer; tensors are shared, not copied.
  ///
  /// - Parameter name: The adapter; nil for the first active one.
  /// - Returns: The updates.
  /// - Throws: ``AdapterError`` when it is not there or of another method.
  public func lowRankAdapter(_ name: String? = nil) throws -> LowRankAdapter {
    let name = name ?? context.active.first ?? "default"
    let placed = try adapter(named: name)
    guard let configuration = placed.configuration as? LoRAConfig else {
      throw AdapterError.impossible(
        method: type(of: placed.configuration).type, what: "taken for products of two factors")
    }
    return try LowRankAdapter(
      configuration: configuration,
      tensors: placed.storedTensors.map { ($0.name, $0.tensor.detached()) }, source: name)
  }
}
