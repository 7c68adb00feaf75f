import Layers
import Tensors

extension LoRAConfig {
  /// The configuration of the same update as a plain LoRA: [A; A0] and [B, -B0].
  ///
  /// Ranks double; the scale stays, as alpha doubles with them, or grows by sqrt(2) with
  /// `usesRankStabilization`.
  func plain() -> LoRAConfig {
    var result = self
    let growth = usesRankStabilization ? 2.0.squareRoot() : 2
    result.rank *= 2
    result.alpha *= growth
    result.rankPattern = rankPattern.map { PathPattern($0.pattern, $0.value * 2) }
    result.alphaPattern = alphaPattern.map { PathPattern($0.pattern, $0.value * growth) }
    result.initialization = .standard
    return result
  }
}

extension LowRankFactors {
  /// The tensors of the plain LoRA of twice the rank, by their names in files.
  var plain: [(name: String, tensor: Tensor)] {
    let start =
      start.map { ($0.a.value, $0.b.value) }
      ?? (a.value.zerosLike(), b.value.zerosLike())
    return [
      ("lora_A.weight", Tensor.concatenated([a.value.detached(), start.0.detached()])),
      (
        "lora_B.weight",
        Tensor.concatenated([b.value.detached(), -start.1.detached()], dimension: 1)
      ),
    ]
  }
}

extension PeftModel {
  /// What the files of an adapter hold.
  ///
  /// - Parameters:
  ///   - adapter: The adapter.
  ///   - plain: Whether one whose start changed the base is written as a plain LoRA; nil where PEFT
  ///     could not find that start again.
  /// - Returns: Tensors by key, and the configuration.
  func written(
    _ adapter: PlacedAdapter, asPlainLoRA plain: Bool?
  ) throws(AdapterError) -> (
    tensors: [(key: String, tensor: Tensor)], configuration: any AdapterConfiguration
  ) {
    let configuration = try savedConfiguration(of: adapter)
    let tensors = adapter.parameters.map { (key: $0.key, tensor: $0.own.parameter.value) }
    guard let lora = configuration as? LoRAConfig else {
      guard plain != true else {
        throw .impossible(method: type(of: configuration).type, what: "written as a plain LoRA")
      }
      return (tensors, configuration)
    }
    let start = lora.initialization
    guard start.changesBase, plain ?? !start.isReproducible else { return (tensors, lora) }
    var changed: [String: Tensor] = [:]
    var dropped: Set<String> = []
    for (path, module) in base.modules() {
      guard let projection = (module as? Linear)?.projection as? AdaptedProjection,
        let factors = (projection.adapter(adapter.name) as? any LowRankAdapter)?.factors
      else { continue }
      for (name, tensor) in factors.plain { changed[keyPrefix + joined(path, name)] = tensor }
      for name in LowRankFactors.startNames { dropped.insert(keyPrefix + joined(path, name)) }
    }
    return (
      tensors.filter { !dropped.contains($0.key) }
        .map { (key: $0.key, tensor: changed[$0.key] ?? $0.tensor) }, lora.plain()
    )
  }
}
