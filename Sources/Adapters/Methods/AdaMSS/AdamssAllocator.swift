import Foundation
import Layers
import Tensors

/// Freezes the least important subspaces in training.
///
/// What is frozen stays so. Importance is collected anew after each decision.
final class AdamssAllocator: AdapterTraining {
  private let configuration: AdamssConfig
  private let subspaces: [Subspace]

  /// One group of one layer.
  private final class Subspace {
    let name: String
    /// A and B.
    let parameters: [Parameter]
    /// Running means of importance and uncertainty of both; empty where nothing was seen.
    var means: [(importance: Tensor, uncertainty: Tensor)] = []
    var isTrained = true

    init(_ name: String, _ parameters: [Parameter]) {
      (self.name, self.parameters) = (name, parameters)
    }

    func freeze() {
      isTrained = false
      for parameter in parameters {
        parameter.value.gradient = nil
        parameter.isTrainable = false
      }
    }
  }

  init(_ configuration: AdamssConfig, _ layers: [(path: String, adapter: AdamssAdapter)]) {
    self.configuration = configuration
    subspaces = layers.flatMap { path, adapter in
      zip(adapter.a, adapter.b).enumerated().map {
        Subspace(joined(path, "adamss.\($0)"), [$1.0, $1.1])
      }
    }
  }

  func begin(updates: Int) throws(AdapterError) {
    guard configuration.asaEnd < updates else {
      throw .configuration(
        field: "final_warmup", expected: "less than the \(updates) updates of this run",
        actual: "\(configuration.asaEnd)")
    }
  }

  func didStep(_ step: Int, of total: Int) {
    // PEFT counts the updates before this one.
    let done = step - 1
    guard (configuration.asaStart...configuration.asaEnd).contains(done) else { return }
    withoutGradients {
      updateMeans()
      guard done % configuration.asaInterval == 0 else { return }
      freeze(to: budget(done))
      for subspace in subspaces { subspace.means = [] }
    }
  }

  /// How many subspaces are trained after an update.
  private func budget(_ done: Int) -> Int {
    let (start, end) = (configuration.asaStart, configuration.asaEnd)
    let share = 1 - Double(done - start) / Double(end - start)
    let target = Double(configuration.asaTarget)
    return Int(
      target + (Double(subspaces.count) - target) * pow(share, configuration.asaExponent))
  }

  private func updateMeans() {
    for subspace in subspaces where subspace.isTrained {
      let values = subspace.parameters.map(\.value)
      let gradients = values.compactMap(\.gradient)
      guard gradients.count == values.count else { continue }
      if subspace.means.isEmpty {
        subspace.means = values.map { ($0.detached().zerosLike(), $0.detached().zerosLike()) }
      }
      for ((value, gradient), means) in zip(zip(values, gradients), subspace.means) {
        let now = (value.detached() * gradient).absolute()
        // From the mean before this update, other than AdaLoRA.
        means.uncertainty.multiplyInPlace(configuration.uncertaintyDecay)
          .addInPlace(
            (now - means.importance).absolute(), scale: 1 - configuration.uncertaintyDecay)
        means.importance.multiplyInPlace(configuration.importanceDecay)
          .addInPlace(now, scale: 1 - configuration.importanceDecay)
      }
    }
  }

  private func freeze(to budget: Int) {
    let seen = subspaces.filter { !$0.means.isEmpty }
    guard seen.count > budget else { return }
    let scores = seen.map { subspace in
      subspace.means.map { ($0.importance * $0.uncertainty).mean() }
        .reduce(nil) { sum, next in sum.map { $0 + next } ?? next }?.item() ?? 0
    }
    // The first one of equals is kept.
    let order = seen.indices.sorted { (-scores[$0], $0) < (-scores[$1], $1) }
    for index in order.dropFirst(budget) { seen[index].freeze() }
  }
}

/// A run that is resumed needs the running means and what is frozen.
extension AdamssAllocator {
  private static let names = ["A", "B"]

  var state: [(name: String, tensor: Tensor)] {
    subspaces.flatMap { subspace -> [(name: String, tensor: Tensor)] in
      [(joined(subspace.name, "trained"), Tensor([subspace.isTrained]))]
        + zip(Self.names, subspace.means).flatMap { name, means in
          [
            (joined(subspace.name, name + ".importance"), means.importance),
            (joined(subspace.name, name + ".uncertainty"), means.uncertainty),
          ]
        }
    }
  }

  func restore(_ state: [String: Tensor]) {
    for subspace in subspaces {
      func saved(_ name: String, _ parameter: Parameter) -> Tensor? {
        state[joined(subspace.name, name)]?.to(device: parameter.value.device).cloned()
      }
      var means: [(importance: Tensor, uncertainty: Tensor)] = []
      for (name, parameter) in zip(Self.names, subspace.parameters) {
        if let importance = saved(name + ".importance", parameter),
          let uncertainty = saved(name + ".uncertainty", parameter)
        {
          means.append((importance, uncertainty))
        }
      }
      subspace.means = means.count == subspace.parameters.count ? means : []
      if state[joined(subspace.name, "trained")]?.item() == 0 { subspace.freeze() }
    }
  }
}
