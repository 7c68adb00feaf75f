import Layers
import Models
import Tensors

extension LoRAConfig {
  /// The configuration of the same update as a plain LoRA: [A; A0] and [B, -B0].
  ///
  /// Ranks double; the scale stays, as alpha doubles with them, or grows by sqrt(2) with
  /// `usesRankStabilization`. MonteCLoRA's distributions, which are of the old rank, are left out.
  func plain() -> LoRAConfig {
    var result = self
    let growth = usesRankStabilization ? 2.0.squareRoot() : 2
    result.rank *= 2
    result.alpha *= growth
    result.rankPattern = rankPattern.map { PathPattern($0.pattern, $0.value * 2) }
    result.alphaPattern = alphaPattern.map { PathPattern($0.pattern, $0.value * growth) }
    result.initialization = .standard
    (result.corda, result.loraGA, result.monteCLoRA) = (nil, nil, nil)
    return result
  }

  /// As files say it: what LoftQ found is added to the base as it is, as the standard start.
  fileprivate func written() -> LoRAConfig {
    guard initialization == .loftq else { return self }
    var result = self
    (result.initialization, result.loftQ) = (.standard, nil)
    return result
  }
}

extension LoRAFactors {
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
  ///   - isCheckpoint: Whether they are a run's that will go on.
  /// - Returns: Tensors by key, and the configuration.
  /// - Throws: ``AdapterError`` for a pattern that is none, or another method that is to be a LoRA.
  func written(
    _ adapter: PlacedAdapter, asPlainLoRA plain: Bool?, isCheckpoint: Bool = false
  ) throws(AdapterError) -> (
    tensors: [(key: String, tensor: Tensor)], configuration: any AdapterConfiguration
  ) {
    let configuration = try savedConfiguration(of: adapter, isCheckpoint: isCheckpoint)
    let tensors =
      adapter.tensors(ofCheckpoint: isCheckpoint).map { (key: $0.name, tensor: $0.tensor) }
      + targetedEmbeddings(adapter, configuration)
    guard let lora = configuration as? LoRAConfig else {
      guard plain != true else {
        throw .impossible(method: type(of: configuration).type, what: "written as a plain LoRA")
      }
      return (tensors, configuration)
    }
    let start = lora.initialization
    guard start.changesBase, plain ?? !start.isReproducible else {
      return (tensors, lora.written())
    }
    var changed: [String: Tensor] = [:]
    var dropped: Set<String> = []
    for place in adaptedPlaces {
      let path = keyPrefix + place.path
      let part = place.part.part(adapter.name)
      if let update = (part as? any LayerAdapter)?.lowRankUpdate {
        for (name, tensor) in update.factors.plain { changed[joined(path, name)] = tensor }
        for name in LoRAFactors.startNames + MonteCLoRADistribution.names {
          dropped.insert(joined(path, name))
        }
      } else if let part = part as? EmbeddingLoRA {
        for (name, tensor) in part.plain { changed[joined(path, name)] = tensor }
      }
    }
    return (
      tensors.filter { !dropped.contains($0.key) }
        .map { (key: $0.key, tensor: changed[$0.key] ?? $0.tensor) }, lora.plain()
    )
  }

  /// Dense weights of embeddings and heads that the adapter is on, which PEFT saves with it.
  ///
  /// PEFT does so where a list of targets has one of their names, and nothing more of the path, or
  /// where an expression matches one of them.
  private func targetedEmbeddings(
    _ adapter: PlacedAdapter, _ configuration: any AdapterConfiguration
  ) -> [(key: String, tensor: Tensor)] {
    let names = ["embed_tokens", "lm_head"]
    guard let layers = configuration as? any LayerConfiguration,
      (layers as? any TokenTraining)?.trainableTokens == nil
    else { return [] }
    if case .names(let targets)? = layers.targetModules {
      guard names.contains(where: targets.contains) else { return [] }
    }
    // What two stacks have in common is the model's table; they look up in copies.
    let isShared = base is EncoderDecoderForConditionalGeneration
    let saved = isShared ? ["shared", "lm_head"] : names
    return adaptedPlaces.compactMap { place in
      guard place.part.part(adapter.name) != nil,
        saved.contains(where: { TargetMatching.matches(place.path, $0) })
      else { return nil }
      let key = keyPrefix + joined(place.path, "base_layer.weight")
      switch place.part {
      case let part as AdaptedTable:
        return (part.original as? DenseTable).map { (key, $0.weight.value) }
      case let part as AdaptedProjection:
        return (part.original as? DenseProjection).map { (key, $0.weight.value) }
      default: return nil
      }
    }
  }
}
