public import Layers
public import Tensors

/// Settings of stochastic gradient descent.
///
/// Defaults are those of torch.optim.SGD.
public struct SGDConfiguration: Equatable, Sendable {
  /// Share of the last direction that is kept; 0 keeps none, and no state.
  public var momentum = 0.0
  /// Whether the step looks ahead along the new direction (Nesterov).
  public var looksAhead = false
  /// Share of each weight added to its gradient.
  public var weightDecay = 0.0

  /// Makes settings.
  ///
  /// - Parameters:
  ///   - momentum: Share of the last direction that is kept.
  ///   - looksAhead: Whether the step looks ahead along the new direction; needs a momentum.
  ///   - weightDecay: Share of each weight added to its gradient.
  public init(momentum: Double = 0, looksAhead: Bool = false, weightDecay: Double = 0) {
    self.momentum = momentum
    self.looksAhead = looksAhead
    self.weightDecay = weightDecay
  }
}

/// Stochastic gradient descent with momentum.
///
/// g = g + d w, b = m b + g, w = w - lr b; looking ahead, w = w - lr (g + m b).
///
/// - Note: Source: torch.optim.SGD 2.13 without dampening, in its order of operations.
public final class SGD: Optimizer {
  private let parameters: [(name: String, parameter: Parameter)]
  private let configuration: SGDConfiguration
  private let decays: [Bool]
  private let directions: [Tensor]

  /// Makes an optimiser with a state of zeros.
  ///
  /// - Parameters:
  ///   - parameters: What to train, with names for the saved state.
  ///   - configuration: Settings.
  ///   - decays: Whether the weights of a parameter, given with its name, decay; the default
  ///     spares biases and norms, which have one dimension.
  public init(
    _ parameters: [(name: String, parameter: Parameter)], _ configuration: SGDConfiguration,
    decays: (String, Parameter) -> Bool = { $1.value.rank > 1 }
  ) {
    precondition(
      configuration.momentum >= 0 && configuration.weightDecay >= 0
        && (configuration.momentum > 0 || !configuration.looksAhead), "SGD: \(configuration)")
    self.parameters = parameters
    self.configuration = configuration
    self.decays = parameters.map { decays($0.name, $0.parameter) }
    directions =
      configuration.momentum == 0
      ? [] : parameters.map { $0.parameter.value.detached().zerosLike() }
  }

  /// Changes every parameter that has a gradient.
  ///
  /// - Parameter learningRate: Size of the step.
  public func step(learningRate: Double) {
    let c = configuration
    withoutGradients {
      for (index, (_, parameter)) in parameters.enumerated() {
        guard var gradient = parameter.value.gradient else { continue }
        let weight = parameter.value
        let isOwn = decays[index] && c.weightDecay != 0
        if isOwn { gradient = gradient.adding(weight, scale: c.weightDecay) }
        if c.momentum != 0 {
          let direction = directions[index].multiplyInPlace(c.momentum).addInPlace(gradient)
          if !c.looksAhead {
            gradient = direction
          } else if isOwn {
            gradient.addInPlace(direction, scale: c.momentum)
          } else {
            gradient = gradient.adding(direction, scale: c.momentum)
          }
        }
        weight.addInPlace(gradient, scale: -learningRate)
      }
    }
  }

  /// Forgets all gradients.
  public func zeroGradients() {
    for (_, parameter) in parameters { parameter.value.gradient = nil }
  }

  /// The directions "<parameter>.momentum_buffer"; empty without momentum.
  public var state: [(name: String, tensor: Tensor)] {
    zip(parameters, directions).map { ($0.name + ".momentum_buffer", $1) }
  }

  /// Takes over a saved state, copying it.
  ///
  /// - Parameter saved: Tensors by the names of ``state``; others are left alone.
  /// - Throws: ``OptimizerError`` when one is missing or does not fit; nothing is changed then.
  public func load(_ saved: [String: Tensor]) throws(OptimizerError) {
    for (direction, tensor) in zip(directions, try matching(saved)) {
      direction.copyInPlace(from: tensor)
    }
  }
}
