public import Tensors

extension LowRankAdapter {
  /// One adapter out of several.
  ///
  /// Scales of the adapters count as part of their updates, whatever `alpha` and rsLoRA make of them;
  /// the result has scale 1 in every layer. A layer that some adapters lack gets what the others have.
  /// Unlike PEFT 0.21.2 the result never has rsLoRA, whose scale would make it too large by the root of
  /// its rank; adapters whose length is a vector of its own (DoRA) are refused, as that vector is not
  /// combined by any of the rules; ranks and alphas by pattern count layer by layer.
  ///
  /// - Parameters:
  ///   - terms: Adapters and their weights; at least one.
  ///   - combination: The rule.
  ///   - originals: What the base has in place of modules that are trained whole, by the keys of files;
  ///     nil where that is not known. Then such modules can be combined only if every adapter has them
  ///     and the weights add up to 1.
  /// - Returns: The adapter, and how far each layer is from the weighted sum.
  /// - Throws: ``DecompositionError`` when the adapters do not fit together or the rule.
  public static func combined(
    _ terms: [(adapter: LowRankAdapter, weight: Double)], _ combination: AdapterCombination,
    originals: [String: Tensor]? = nil
  ) throws -> (adapter: LowRankAdapter, layers: [CombinedLayer]) {
    try combination.validate()
    guard let first = terms.first?.adapter else {
      throw DecompositionError.outOfRange(
        field: "adapters", expected: "at least one", actual: "none")
    }
    try check(terms)
    var result = first
    result.configuration = try configuration(of: terms.map(\.adapter))
    result.layers = []
    var report: [CombinedLayer] = []
    let generator = Generator(seed: combination.seed)
    for path in paths(terms.map(\.adapter)) {
      let own = terms.compactMap { term in
        term.adapter.layers.first { $0.path == path }.map { (layer: $0, weight: term.weight) }
      }
      let updates = own.map { (update: $0.layer.update, weight: $0.weight) }
      try checkShapes(own.map(\.layer), combination, path)
      let made = try combine(updates, combination, generator, path)
      var layer = own[0].layer
      layer.update = made
      result.layers.append(layer)
      report.append(
        CombinedLayer(
          path: path, rank: made.rank,
          relativeError: try made.relativeError(against: .sum(updates), name: path)))
    }
    try result.configuration.describe(
      result.layers.map { ($0.path, $0.update.rank, Double($0.update.rank)) })
    result.others = try combinedOthers(terms, originals)
    return (result, report)
  }

  /// Layers of all adapters, each once, in the order of the first that has it.
  private static func paths(_ adapters: [LowRankAdapter]) -> [String] {
    var seen: Set<String> = []
    return adapters.flatMap { $0.layers.map(\.path) }.filter { seen.insert($0).inserted }
  }

  private static func combine(
    _ terms: [(update: LowRankUpdate, weight: Double)], _ combination: AdapterCombination,
    _ generator: Generator, _ path: String
  ) throws -> LowRankUpdate {
    let rule = ElementwiseCombination(combination: combination, generator: generator)
    let scaled = terms.map { $0.weight * $0.update.scale }
    if combination.kind == .cat { return .sum(terms) }
    guard combination.kind.truncates else {
      // The weight's root on both sides, its sign on one.
      return LowRankUpdate(
        a: rule(
          terms.map(\.update.a), scaled.map { abs($0).squareRoot() * ($0 < 0 ? -1 : 1) }),
        b: rule(terms.map(\.update.b), scaled.map { abs($0).squareRoot() }))
    }
    let rank = combination.rank ?? terms.map(\.update.rank).max() ?? 1
    let found =
      combination.kind == .svd
      ? try LowRankUpdate.sum(terms).decomposition(name: path)
      : try SingularValueDecomposition(
        rule(terms.map { $0.update.matrix() }, terms.map(\.weight)), name: path)
    guard let clamp = combination.clamp else { return found.update(rank: rank, scale: 1) }
    let kept = min(rank, found.values.count)
    let left = found.u.narrowed(1, 0..<kept) * found.s.narrowed(0, 0..<kept).unsqueezed(0)
    let right = found.vt.narrowed(0, 0..<kept)
    let limit = Tensor.concatenated([left.reshaped([-1]), right.reshaped([-1])]).quantile(clamp)
    return LowRankUpdate(
      a: right.clamped(lower: -limit, upper: limit), b: left.clamped(lower: -limit, upper: limit))
  }

  private static func check(_ terms: [(adapter: LowRankAdapter, weight: Double)]) throws {
    for (adapter, weight) in terms {
      guard weight.isFinite else {
        throw DecompositionError.outOfRange(
          field: "weight of \(adapter.source)", expected: "a number", actual: "\(weight)")
      }
      guard !adapter.hasMagnitudes else {
        throw DecompositionError.impossible(
          what: adapter.source,
          reason:
            "it is a DoRA adapter, whose magnitudes no combination adds up; merge the adapters "
            + "into models instead")
      }
      guard !adapter.actsAtSomePositions else {
        throw DecompositionError.impossible(
          what: adapter.source, reason: "it acts at some positions only (alora_invocation_tokens)")
      }
      guard
        adapter.configuration.layerReplication == terms[0].adapter.configuration.layerReplication
      else {
        throw DecompositionError.mismatch(
          what: "layer_replication of \(adapter.source)", expected: "that of the first adapter",
          actual: "another one")
      }
    }
  }

  private static func checkShapes(
    _ layers: [Layer], _ combination: AdapterCombination, _ path: String
  ) throws(DecompositionError) {
    for layer in layers.dropFirst() {
      let shapes = [layers[0], layer].map { [$0.update.b.size(0), $0.update.a.size(1)] }
      guard shapes[0] == shapes[1], layer.names == layers[0].names else {
        throw .mismatch(what: path, expected: "a shape of \(shapes[0])", actual: "\(shapes[1])")
      }
      let isOfFactors = !combination.kind.truncates && combination.kind != .cat
      guard !isOfFactors || layer.update.rank == layers[0].update.rank else {
        throw .impossible(
          what: path,
          reason: "ranks \(layers[0].update.rank) and \(layer.update.rank) cannot be combined by "
            + "\(combination.kind.rawValue), which acts on the factors; use cat or svd")
      }
    }
  }

  /// The first one's fields, for the layers of all.
  private static func configuration(
    of adapters: [LowRankAdapter]
  ) throws(DecompositionError) -> LoRAConfig {
    var result = adapters[0].configuration
    result.usesRankStabilization = false
    result.initialization = .standard
    let selections = adapters.map(\.configuration.selection)
    if selections.contains(where: { $0.bias != selections[0].bias }) {
      throw .impossible(what: "bias", reason: "some adapters train the biases and others do not")
    }
    if adapters.contains(where: { $0.configuration.trainableTokens != result.trainableTokens }) {
      throw .impossible(
        what: "trainable_token_indices", reason: "the adapters train different tokens")
    }
    let lists = selections.compactMap { selection -> [String]? in
      guard case .names(let names) = selection.targetModules, selection.layersToTransform == nil,
        selection.excludeModules == nil
      else { return nil }
      return names
    }
    if adapters.contains(where: { !$0.configuration.targetParameters.isEmpty }) {
      result.targetParameters = []
      result.selection = TargetSelection(.names(paths(adapters)))
      result.selection.bias = selections[0].bias
    } else if lists.count == adapters.count {
      // What a name of one list means in the model is in that adapter.
      result.targetModules = .names(Set(lists.flatMap { $0 }).sorted())
    } else if selections.contains(where: { $0 != selections[0] }) {
      result.selection = TargetSelection(.names(paths(adapters)))
      result.selection.bias = selections[0].bias
    }
    result.modulesToSave = Set(adapters.flatMap(\.configuration.modulesToSave)).sorted()
    return result
  }

  /// base + sum of w (module - base).
  private static func combinedOthers(
    _ terms: [(adapter: LowRankAdapter, weight: Double)], _ originals: [String: Tensor]?
  ) throws -> [(key: String, tensor: Tensor)] {
    var keys: [String] = []
    for key in terms.flatMap({ $0.adapter.others.map(\.key) }) where !keys.contains(key) {
      keys.append(key)
    }
    return try keys.map { key in
      let own = terms.compactMap { term in
        term.adapter.others.first { $0.key == key }.map { (tensor: $0.tensor, weight: term.weight) }
      }
      guard own.allSatisfy({ $0.tensor.shape == own[0].tensor.shape }) else {
        throw DecompositionError.mismatch(
          what: key, expected: "a shape of \(own[0].tensor.shape)",
          actual: "\(own.map(\.tensor.shape).last ?? [])")
      }
      let left = 1 - own.reduce(0) { $0 + $1.weight }
      var sum = own.dropFirst().reduce(own[0].tensor.widest * own[0].weight) {
        $0 + $1.tensor.widest * $1.weight
      }
      if let original = originals?[key] {
        sum = sum + original.widest * left
      } else if own.count < terms.count || abs(left) > 1e-9 {
        throw DecompositionError.impossible(
          what: key,
          reason: "it is no update but a tensor that was trained whole; without the base it can be "
            + "combined only if every adapter has it and the weights add up to 1")
      }
      return (key, sum.to(own[0].tensor.dtype))
    }
  }
}
