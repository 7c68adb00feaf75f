import Foundation
import Layers
import Tensors

extension PeftModel {
  /// A from the principal components of a layer's inputs, with ranks by the variance they explain.
  ///
  /// The ranks of all layers together stay; a layer gets at most rho times its own. One that gets
  /// none loses its adapter. Components are orthonormal, so that their signs do not matter.
  func startEVA(
    _ placed: PlacedAdapter, _ config: LoRAConfig, _ batches: [CalibrationBatch]
  ) throws(AdapterError) {
    let eva = config.eva ?? EVAConfig()
    let layers = lowRankLayers(placed.name)
    let ranks = layers.map { $0.factors.a.value.size(0) }
    var components = zip(layers, ranks).map { layer, rank in
      PrincipalComponents(
        min(Int((Double(rank) * eva.rho).rounded(.toNearestOrEven)), layer.projection.inputSize))
    }
    let indices = Dictionary(
      uniqueKeysWithValues: layers.enumerated().map {
        (ObjectIdentifier($0.element.projection), $0.offset)
      })
    var chosen = components.map(\.count)
    var isDone = components.map { _ in false }
    passes: for _ in 0..<10 {
      for batch in batches {
        let positions = batch.positions(maskedBy: eva)
        observeInputs(batch, positions: positions) { layer, rows in
          guard let index = indices[layer], !isDone[index] else { return }
          components[index].add(rows)
        }
        guard components.allSatisfy({ $0.vectors != nil }) else { continue }
        chosen = distribution(components, budget: ranks.reduce(0, +))
        isDone = zip(components, chosen).map { $0.areStill($1, threshold: eva.tau) }
        if isDone.allSatisfy({ $0 }) { break passes }
      }
    }
    if let index = components.firstIndex(where: { $0.vectors == nil }) {
      throw .configuration(
        field: "calibration batches",
        expected:
          "batches of at least \(components[index].count) positions for \(layers[index].path)",
        actual: "fewer")
    }
    try place(placed, config, components, chosen)
  }

  /// How many components of each layer are among those that explain most.
  private func distribution(_ components: [PrincipalComponents], budget: Int) -> [Int] {
    let all = components.enumerated().flatMap { index, own in
      own.explainedShares.map { (index, $0) }
    }
    // Stable, so that equal ones go to the first layer.
    let order = all.indices.sorted {
      all[$0].1 == all[$1].1 ? $0 < $1 : all[$0].1 > all[$1].1
    }
    var counts = components.map { _ in 0 }
    for place in order.prefix(budget) { counts[all[place].0] += 1 }
    return counts
  }

  /// Gives the layers adapters of the found ranks.
  private func place(
    _ placed: PlacedAdapter, _ config: LoRAConfig, _ components: [PrincipalComponents],
    _ chosen: [Int]
  ) throws(AdapterError) {
    let eva = config.eva ?? EVAConfig()
    var (result, removed) = (config, Set<String>())
    (result.rankPattern, result.alphaPattern) = ([], [])
    func remember(_ path: String, rank: Int, alpha: Double) {
      let pattern = "^" + NSRegularExpression.escapedPattern(for: path)
      if rank != config.rank { result.rankPattern.append(PathPattern(pattern, rank)) }
      if alpha != config.alpha { result.alphaPattern.append(PathPattern(pattern, alpha)) }
    }
    let layers = lowRankLayers(placed.name)
    let generator = Generator(seed: 0)
    for path in placed.targets where !layers.contains(where: { $0.path == path }) {
      remember(
        path, rank: try config.rankPattern.value(for: path, default: config.rank),
        alpha: try config.alphaPattern.value(for: path, default: config.alpha))
    }
    for ((path, projection, old), (own, rank)) in zip(layers, zip(components, chosen)) {
      guard let vectors = own.vectors, let adapter = projection.adapter(placed.name) else {
        continue
      }
      let keys = Set(
        (adapter.lowRankUpdate?.parameters ?? []).map { keyPrefix + joined(path, $0.name) })
      placed.parameters.removeAll { keys.contains($0.key) }
      placed.layers.removeAll { $0.path == path }
      guard rank > 0 else {
        projection.remove(placed.name)
        if let rest = adapter.replacingLowRankUpdate(by: nil) { projection.add(placed.name, rest) }
        removed.insert(path)
        continue
      }
      let before = old.a.value.size(0)
      var alpha = try config.alphaPattern.value(for: path, default: config.alpha)
      if eva.adjustsScale { alpha *= Double(rank) / Double(before) }
      var a = vectors.narrowed(0, 0..<rank)
      if eva.whitens { a = a / own.values.narrowed(0, 0..<rank).squareRoot().unsqueezed(1) }
      let site = LayerSite(
        path: path, base: projection.original, generator: generator,
        wantedType: old.a.value.dtype)
      let factors = LoRAFactors(
        a: site.parameter(a), b: site.zeros([site.outputSize, rank]),
        scale: config.scale(rank: rank, alpha: alpha), dropout: config.dropout)
      let made = config.adapter(factors, site)
      if let whole = adapter.replacingLowRankUpdate(by: made) {
        projection.replace(placed.name, with: whole)
      }
      placed.layers.append((path, made))
      placed.parameters += made.parameters.map { (keyPrefix + joined(path, $0.name), $0) }
      remember(path, rank: rank, alpha: alpha)
    }
    for place in adaptedPlaces where place.part.isEmpty { place.putBack() }
    if !removed.isEmpty {
      placeBiasesAnew(placed, without: removed)
      placed.targets.removeAll { removed.contains($0) }
      result.targetModules = .names(
        TargetMatching(base, for: config).shortestNames(for: placed.targets, among: basePaths))
    }
    placed.configuration = result
    placed.training = config.training(of: adaptedLayers(placed.name).map(\.adapter))
    setTrainable(placed, true)
  }
}

extension PeftModel {
  /// Keeps the biases that are trained with an adapter, of layers that do not have it any more only
  /// where all are.
  private func placeBiasesAnew(_ placed: PlacedAdapter, without removed: Set<String>) {
    let keepsAll = (placed.configuration as? any LayerConfiguration)?.selection.bias == .all
    for path in removed {
      let (wrapped, plain) = (
        keyPrefix + joined(path, "base_layer.bias"), keyPrefix + joined(path, "bias")
      )
      guard let index = placed.parameters.firstIndex(where: { $0.key == wrapped }) else { continue }
      if keepsAll {
        placed.parameters[index].key = plain
      } else {
        placed.parameters.remove(at: index).own.parameter.isTrainable = false
      }
    }
  }
}

extension CalibrationBatch {
  /// The positions that count, without those whose label says otherwise.
  fileprivate func positions(maskedBy eva: EVAConfig) -> Tensor? {
    guard eva.usesLabelMask, let labels else { return positions }
    let labelled = labels .!= Double(eva.labelMaskValue)
    return positions.map { labelled .& ($0 .!= 0) } ?? labelled
  }
}

/// Principal components of rows that come in batches.
///
/// Source: Ross et al. 2008, incremental learning for robust visual tracking (the update of mean and
/// components).
struct PrincipalComponents {
  /// How many are kept.
  let count: Int
  /// `[count, size]`, orthonormal rows, in the processor's memory; nil before the first batch.
  private(set) var vectors: Tensor?
  /// Singular values, `[count]`.
  private(set) var values = Tensor([] as [Float])
  private var mean: Tensor?
  private var rowCount = 0
  /// Sum of squared distances to the mean.
  private var spread = 0.0
  /// Cosines of the components and those before the last batch.
  private var cosines: [Double] = []

  init(_ count: Int) { self.count = count }

  /// Takes a batch in, `[n, size]`; one with fewer rows than components is left out.
  mutating func add(_ rows: Tensor) {
    let rows = rows.to(device: .cpu)
    let n = rows.size(0)
    guard n >= count, count > 0 else { return }
    let own = rows.mean([0], keepDimensions: true)  // [1, size]
    let centred = rows - own
    spread += (centred * centred).sum().item()
    var stacked = centred
    if let vectors, let mean {
      let shift = mean - own
      let weight = Double(rowCount) * Double(n) / Double(rowCount + n)
      spread += weight * (shift * shift).sum().item()
      stacked = Tensor.concatenated([
        values.unsqueezed(1) * vectors, centred, shift * weight.squareRoot(),
      ])
      self.mean = (mean * Double(rowCount) + own * Double(n)) / Double(rowCount + n)
    } else {
      mean = own
    }
    rowCount += n
    let found = stacked.randomizedSingularValueDecomposition(
      rank: count, oversampling: count, generator: Generator(seed: 0))
    if let vectors {
      cosines = (vectors * found.vt).sum([1]).absolute().to(.float64).array(of: Double.self)
    }
    (vectors, values) = (found.vt, found.s)
  }

  /// Shares of the variance that the components explain, largest first.
  var explainedShares: [Double] {
    guard spread > 0 else { return Array(repeating: 0, count: count) }
    return values.to(.float64).array(of: Double.self).map { $0 * $0 / spread }
  }

  /// Whether the first components are where they were before the last batch.
  func areStill(_ first: Int, threshold: Double) -> Bool {
    !cosines.isEmpty && cosines.prefix(first).allSatisfy { $0 >= threshold }
  }
}
