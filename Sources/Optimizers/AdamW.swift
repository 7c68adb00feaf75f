import CKernels
import Foundation
public import Layers
public import Tensors

/// Settings of AdamW.
///
/// Defaults are those of torch.optim.AdamW but for the weight decay.
public struct AdamWConfiguration: Equatable, Sendable {
  /// Decay of the mean gradient.
  public var beta1 = 0.9
  /// Decay of the mean squared gradient.
  public var beta2 = 0.999
  /// Added to the root of the mean squared gradient.
  public var epsilon = 1e-8
  /// Share of each weight taken off at each step, times the learning rate.
  public var weightDecay = 0.0

  /// Makes the default settings.
  ///
  /// - Parameter weightDecay: Share of each weight taken off at each step, times the learning rate.
  public init(weightDecay: Double = 0) { self.weightDecay = weightDecay }
}

/// Adam with decoupled weight decay.
///
/// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, at step t:
/// w = w (1 - lr d) - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps).
///
/// - Note: Source: Loshchilov and Hutter 2017, arXiv 1711.05101, in the order of operations of
///   torch.optim.AdamW 2.13.
public final class AdamW: Optimizer {
  private let parameters: [(name: String, parameter: Parameter)]
  private let configuration: AdamWConfiguration
  private let decays: [Bool]
  private var means: [Tensor]
  private var squares: [Tensor]
  /// Steps taken.
  public private(set) var stepCount = 0

  /// Makes an optimiser with a state of zeros.
  ///
  /// - Parameters:
  ///   - parameters: What to train, with names for the saved state.
  ///   - configuration: Settings.
  ///   - decays: Whether the weights of a parameter, given with its name, decay; the default
  ///     spares biases and norms, which have one dimension.
  public init(
    _ parameters: [(name: String, parameter: Parameter)], _ configuration: AdamWConfiguration,
    decays: (String, Parameter) -> Bool = { $1.value.rank > 1 }
  ) {
    precondition(
      (0..<1).contains(configuration.beta1) && (0..<1).contains(configuration.beta2)
        && configuration.epsilon >= 0 && configuration.weightDecay >= 0,
      "AdamW: \(configuration)")
    self.parameters = parameters
    self.configuration = configuration
    self.decays = parameters.map { decays($0.name, $0.parameter) }
    means = parameters.map { $0.parameter.value.detached().zerosLike() }
    squares = parameters.map { $0.parameter.value.detached().zerosLike() }
  }

  /// Changes every parameter that has a gradient.
  ///
  /// All parameters share the count of steps; besides the state, one tensor of the size of the
  /// largest parameter is needed.
  ///
  /// - Parameter learningRate: Size of the step.
  public func step(learningRate: Double) {
    stepCount += 1
    let c = configuration
    let meanCorrection = 1 - pow(c.beta1, Double(stepCount))
    let rootCorrection = (1 - pow(c.beta2, Double(stepCount))).squareRoot()
    lazy var correction = Tensor.full([], rootCorrection, dtype: .float64)
    withoutGradients {
      for (index, (_, parameter)) in parameters.enumerated() {
        guard let gradient = parameter.value.gradient else { continue }
        let decay = decays[index] ? c.weightDecay : 0
        let tensors = [parameter.value, gradient, means[index], squares[index]]
        let keep = 1 - learningRate * decay
        guard !Self.fitsKernel(tensors) else {
          let step = graft_adamw(
            mean_gain: Float(1 - c.beta1), beta2: Float(c.beta2), square_gain: Float(1 - c.beta2),
            root_correction: Float(rootCorrection), epsilon: Float(c.epsilon), keep: Float(keep),
            rate: Float(learningRate / meanCorrection))
          Self.run(step, tensors)
          continue
        }
        let (weight, mean, square) = (parameter.value, means[index], squares[index])
        if decay != 0 { weight.multiplyInPlace(keep) }
        mean.interpolateInPlace(towards: gradient, weight: 1 - c.beta1)
        square.multiplyInPlace(c.beta2)
          .addProductInPlace(gradient, gradient, scale: 1 - c.beta2)
        let root = square.squareRoot().divideInPlace(correction).addInPlace(c.epsilon)
        weight.addQuotientInPlace(mean, root, scale: -learningRate / meanCorrection)
      }
    }
  }

  /// Whether weight, gradient and state are ones that the kernel goes over in one pass.
  private static func fitsKernel(_ tensors: [Tensor]) -> Bool {
    tensors.allSatisfy { $0.dtype == .float32 && $0.device.kind == .cpu && $0.count > 0 }
  }

  /// The same numbers whatever the strides are: a run that goes on may have others.
  private static func run(_ step: graft_adamw, _ strided: [Tensor]) {
    let tensors = strided.map { $0.contiguous() }
    defer {
      for (own, changed) in zip(strided, tensors) where !own.isContiguous {
        own.copyInPlace(from: changed)
      }
    }
    forEachBlockRange(tensors[0].count, blockSize: 1, tensors, name: "adamw") {
      memory, first, end in
      withUnsafePointer(to: step) {
        graft_adamw_step(
          $0, memory.elements(1, Float.self), first, end, memory.elements(0, Float.self),
          memory.elements(2, Float.self), memory.elements(3, Float.self))
      }
    }
  }

  /// Forgets all gradients.
  public func zeroGradients() {
    for (_, parameter) in parameters { parameter.value.gradient = nil }
  }

  /// Everything that the next step depends on besides parameters and gradients.
  ///
  /// Names are "<parameter>.exp_avg", "<parameter>.exp_avg_sq" and "step".
  public var state: [(name: String, tensor: Tensor)] {
    var result: [(name: String, tensor: Tensor)] = []
    for (index, (name, _)) in parameters.enumerated() {
      result.append((name + ".exp_avg", means[index]))
      result.append((name + ".exp_avg_sq", squares[index]))
    }
    result.append(("step", Tensor([stepCount])))
    return result
  }

  /// Takes over a saved state.
  ///
  /// - Parameter saved: Tensors by the names of ``state``.
  /// - Throws: ``OptimizerError`` when one is missing or does not fit; nothing is changed then.
  public func load(_ saved: [String: Tensor]) throws(OptimizerError) {
    let found = try matching(saved)
    let steps = found[found.count - 1].item()
    guard let steps = Int(exactly: steps), steps >= 0 else {
      throw .state(name: "step", reason: "is \(steps), expected a count")
    }
    for index in parameters.indices {
      means[index].copyInPlace(from: found[2 * index])
      squares[index].copyInPlace(from: found[2 * index + 1])
    }
    stepCount = steps
  }
}
