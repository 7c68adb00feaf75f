import Layers
public import Tensors

/// What some methods do in training beside their gradients; nothing for most.
extension PeftModel {
  private var acting: [any AdapterTraining] {
    placed.filter { context.active.contains($0.name) }.compactMap(\.training)
  }

  /// To be called before the first update of a run.
  ///
  /// - Parameter updates: Updates of the whole run.
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)`` when an adapter's schedule does not
  ///   fit it.
  public func beginTraining(updates: Int) throws(AdapterError) {
    for training in acting { try training.begin(updates: updates) }
  }

  /// What is added to the mean loss of a batch; nil for nothing.
  ///
  /// - Returns: A scalar.
  public func penalty() -> Tensor? {
    let acting = acting
    let all = acting.compactMap { $0.penalty(among: acting) }
    return all.dropFirst().reduce(all.first) { sum, next in sum.map { $0 + next } }
  }

  /// To be called after each update, before gradients are forgotten.
  ///
  /// - Parameters:
  ///   - step: Updates so far, with this one.
  ///   - total: Updates of the whole run.
  public func didStep(_ step: Int, of total: Int) {
    for training in acting { training.didStep(step, of: total) }
  }

  /// Whether an adapter changes its parameters itself after each update.
  public var actsBetweenUpdates: Bool { !acting.isEmpty }

  /// Whether making or writing an adapter of this model reads frozen weights of its blocks.
  public var readsBlocks: Bool { configurations.contains { $0.configuration.readsBlocks } }

  /// What has to be saved beside the adapter for a run to go on.
  public var trainingState: [(name: String, tensor: Tensor)] {
    acting.flatMap(\.state).map { ("adapter." + $0.name, $0.tensor) }
  }

  /// Takes back what ``trainingState`` gave.
  ///
  /// - Parameter state: Tensors by name; others are ignored.
  public func restoreTrainingState(_ state: [String: Tensor]) {
    var own: [String: Tensor] = [:]
    for (name, tensor) in state where name.hasPrefix("adapter.") {
      own[String(name.dropFirst("adapter.".count))] = tensor
    }
    for training in acting { training.restore(own) }
  }
}
