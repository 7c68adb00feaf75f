import Foundation
import Layers
import Tensors

/// Decides in training which ranks are left.
///
/// An element's importance is the running mean of |p g| times the running mean of how much that varies; a
/// triplet's is that of its element of E plus the means of its row of A and its column of B.
///
/// Source: Zhang et al. 2023, arXiv 2303.10512, equations 6 to 11 and algorithm 1.
final class AdaLoRAAllocator: AdapterTraining {
  private let configuration: AdaLoRAConfig
  private let layers: [Layer]
  /// Updates of the run, once they are known.
  private var total: Int?

  /// What is known of one layer.
  private final class Layer {
    let path: String
    let adapter: AdaLoRAAdapter
    /// Which rows are left; nil before any masking.
    var kept: [Bool]?
    /// Running means of importance and uncertainty of A, B and E; empty before the first update.
    var means: [(importance: Tensor, uncertainty: Tensor)] = []

    init(_ path: String, _ adapter: AdaLoRAAdapter) { (self.path, self.adapter) = (path, adapter) }
  }

  init(_ configuration: AdaLoRAConfig, _ layers: [(path: String, adapter: AdaLoRAAdapter)]) {
    self.configuration = configuration
    self.layers = layers.map { Layer($0.path, $0.adapter) }
    total = configuration.totalSteps
  }

  /// Takes the run's length for the schedule's, unless the configuration has one.
  func begin(updates: Int) throws(AdapterError) {
    let (begin, end) = (configuration.initialSteps, configuration.finalSteps)
    total = configuration.totalSteps ?? updates
    // There is no budget to fall: the ranks stay.
    guard let total, rankCount > configuration.targetRank * layers.count else { return }
    guard total <= updates else {
      throw .configuration(
        field: "total_step", expected: "at most \(updates), the updates of this run",
        actual: "\(total)")
    }
    guard begin + end < total else {
      throw .configuration(
        field: "tinit + tfinal", expected: "less than the \(total) updates of the schedule",
        actual: "\(begin) + \(end)")
    }
  }

  func penalty() -> Tensor? {
    guard configuration.orthogonality > 0 else { return nil }
    let all = layers.flatMap { $0.adapter.departures() }
    guard !all.isEmpty else { return nil }
    return Tensor.stacked(all).sum() / Double(all.count) * configuration.orthogonality
  }

  func didStep(_ step: Int, of total: Int) {
    let total = self.total ?? total
    self.total = total
    let end = total - configuration.finalSteps
    withoutGradients {
      if step < end {
        updateMeans()
        if step > configuration.initialSteps, step % configuration.interval == 0 {
          mask(to: budget(step, end))
        }
      } else if step == end {
        if layers.contains(where: { $0.means.isEmpty }) { updateMeans() }
        mask(to: budget(step, end))
        for layer in layers { layer.means = [] }
      } else {
        for layer in layers { if let kept = layer.kept { clear(layer, keeping: kept) } }
      }
    }
  }

  /// How many triplets are left after an update: it falls with the third power.
  private func budget(_ step: Int, _ end: Int) -> Int {
    let target = Double(configuration.targetRank * layers.count)
    let begin = configuration.initialSteps
    guard step > begin else { return rankCount }
    let share = 1 - Double(step - begin) / Double(end - begin)
    return Int((Double(rankCount) - target) * pow(share, 3) + target)
  }

  private var rankCount: Int { layers.reduce(0) { $0 + $1.adapter.places.count } }

  private func updateMeans() {
    for layer in layers {
      let parameters = layer.adapter.parameters.map(\.parameter.value)
      if layer.means.isEmpty {
        layer.means = parameters.map { ($0.detached().zerosLike(), $0.detached().zerosLike()) }
      }
      for (parameter, means) in zip(parameters, layer.means) {
        guard let gradient = parameter.gradient else { continue }
        let now = (parameter.detached() * gradient).absolute()
        means.importance.multiplyInPlace(configuration.importanceDecay)
          .addInPlace(now, scale: 1 - configuration.importanceDecay)
        means.uncertainty.multiplyInPlace(configuration.uncertaintyDecay)
          .addInPlace(
            (now - means.importance).absolute(), scale: 1 - configuration.uncertaintyDecay)
      }
    }
  }

  /// Importance of each triplet of a layer, `[rank]`.
  private func importance(_ layer: Layer) -> [Double] {
    let scores = layer.means.map { $0.importance * $0.uncertainty }
    let (a, b, e) = (scores[0].mean([1]), scores[1].mean([0]), scores[2].reshaped([-1]))
    return (e + (a + b)).array(of: Double.self)
  }

  /// Sets the least important triplets to zero, all that are as unimportant as the last of them.
  private func mask(to budget: Int) {
    let scores = layers.map(importance)
    let sorted = scores.flatMap { $0 }.sorted()
    let count = sorted.count - budget
    guard count > 0 else { return }
    let threshold = sorted[count - 1]
    for (layer, scores) in zip(layers, scores) {
      let kept = scores.map { !($0 <= threshold) }
      layer.kept = kept
      clear(layer, keeping: kept)
    }
  }

  private func clear(_ layer: Layer, keeping kept: [Bool]) {
    let e = layer.adapter.e.value
    let mask = Tensor(kept.map { $0 ? 1.0 : 0 }, shape: [kept.count, 1])
    e.multiplyInPlace(mask.to(e.dtype).to(device: e.device))
  }
}

/// A run that is resumed needs the running means, and which triplets were left.
extension AdaLoRAAllocator {
  var state: [(name: String, tensor: Tensor)] {
    var result: [(name: String, tensor: Tensor)] = []
    if let total { result.append(("total", Tensor([total]))) }
    for layer in layers {
      let own = layer.adapter.parameters
      for (entry, means) in zip(own, layer.means) {
        result.append((joined(layer.path, entry.name + ".importance"), means.importance))
        result.append((joined(layer.path, entry.name + ".uncertainty"), means.uncertainty))
      }
      if let kept = layer.kept { result.append((joined(layer.path, "kept"), Tensor(kept))) }
    }
    return result
  }

  func restore(_ state: [String: Tensor]) {
    if let saved = state["total"] { total = Int(saved.item()) }
    withoutGradients {
      for layer in layers {
        var means: [(importance: Tensor, uncertainty: Tensor)] = []
        for entry in layer.adapter.parameters {
          let name = joined(layer.path, entry.name)
          let value = entry.parameter.value
          if let importance = state[name + ".importance"],
            let uncertainty = state[name + ".uncertainty"]
          {
            means.append(
              (
                importance.to(device: value.device).cloned(),
                uncertainty.to(device: value.device).cloned()
              ))
          }
        }
        layer.means = means.count == 3 ? means : []
        layer.kept = state[joined(layer.path, "kept")]?.array(of: Bool.self)
      }
    }
  }
}

/// Files have the triplets that are left, and say in their configuration which these are. Checkpoints
/// have all: while the budget falls, a masked triplet may come back.
extension AdaLoRAAllocator: AdapterStorage {
  func configuration(_ configuration: any AdapterConfiguration) -> any AdapterConfiguration {
    guard var own = checkpointed(configuration) as? AdaLoRAConfig else { return configuration }
    guard own.rankMasks != nil || layers.contains(where: { $0.kept != nil }) else { return own }
    var masks: [String: [Bool]] = [:]
    for layer in layers {
      var mask = [Bool](repeating: false, count: own.initialRank)
      for place in filePlaces(layer) { mask[place] = true }
      masks[layer.path] = mask
    }
    own.rankMasks = masks
    return own
  }

  func checkpointed(_ configuration: any AdapterConfiguration) -> any AdapterConfiguration {
    guard var own = configuration as? AdaLoRAConfig else { return configuration }
    // PEFT opens no file without a number here that leaves room for a budget.
    own.totalSteps = total ?? own.initialSteps + own.finalSteps + 1
    return own
  }

  func checkpointed(
    _ tensors: [(key: String, tensor: Tensor)]
  ) -> [(key: String, tensor: Tensor)] { tensors }

  /// Which of the initial ranks a file holds of a layer.
  private func filePlaces(_ layer: Layer) -> [Int] {
    guard let kept = layer.kept else { return layer.adapter.places }
    return zip(layer.adapter.places, kept).filter(\.1).map(\.0)
  }

  func stored(_ tensors: [(key: String, tensor: Tensor)]) -> [(key: String, tensor: Tensor)] {
    let own = byKey
    return tensors.map { key, tensor in
      guard let (layer, dimension) = own[key], let kept = layer.kept, kept.contains(false) else {
        return (key, tensor)
      }
      let rows = Tensor(kept.indices.filter { kept[$0] }).to(device: tensor.device)
      return (key, tensor.detached().selecting(dimension, rows).contiguous())
    }
  }

  func restored(
    _ tensors: [String: Tensor], _ configuration: any AdapterConfiguration
  ) throws(AdapterError) -> [String: Tensor] {
    let masks = (configuration as? AdaLoRAConfig)?.rankMasks
    var result = tensors
    for (key, (layer, dimension)) in byKey {
      let own = layer.adapter.places
      let places = masks?[layer.path].map { mask in mask.indices.filter { mask[$0] } } ?? own
      guard places != own, Set(places).isSubset(of: own), let found = tensors[key],
        found.rank == 2, found.size(dimension) == places.count
      else { continue }
      var shape = found.shape
      shape[dimension] = own.count
      let rows = Tensor(places.compactMap { own.firstIndex(of: $0) })
      // Triplets that are not in the file contribute nothing.
      result[key] = Tensor.zeros(shape, dtype: found.dtype)
        .addInPlace(dimension, at: rows, found.to(device: .cpu))
      layer.kept = own.map(places.contains)
    }
    return result
  }

  /// Layers by the keys of files, with the dimension along which ranks count.
  private var byKey: [String: (layer: Layer, dimension: Int)] {
    var result: [String: (layer: Layer, dimension: Int)] = [:]
    for layer in layers {
      for (name, dimension) in [("lora_A", 0), ("lora_B", 1), ("lora_E", 0)] {
        result[keyPrefix + joined(layer.path, name)] = (layer, dimension)
      }
    }
    return result
  }
}
