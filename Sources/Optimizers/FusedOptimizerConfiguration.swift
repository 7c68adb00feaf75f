import CKernels
import Foundation

/// Settings of ``FusedOptimizer``, for all parameters or for one.
public struct FusedOptimizerConfiguration: Equatable, Sendable {
  /// What a step does.
  public let rule: UpdateRule
  /// Decay of the mean gradient; the momentum of ``UpdateRule/sgd`` and ``UpdateRule/lars``.
  public var beta1 = 0.9
  /// Decay of the mean squared gradient; of ``UpdateRule/lion`` that of its mean.
  public var beta2 = 0.999
  /// Decay of ``UpdateRule/adEMAMix``'s slow mean.
  public var beta3 = 0.9999
  /// Weight of ``UpdateRule/adEMAMix``'s slow mean.
  public var alpha = 5.0
  /// Steps over which ``alpha`` grows from 0; nil for none.
  public var alphaWarmup: Int?
  /// Steps over which ``beta3`` grows from ``beta1``; nil for none.
  public var beta3Warmup: Int?
  /// Added to the root of the mean squared gradient.
  public var epsilon = 1e-8
  /// Share of each weight taken off at each step times the learning rate, or added to its gradient.
  public var weightDecay = 0.0
  /// Longest direction in lengths of the parameter; nil for no limit.
  public var maximumUpdateNorm: Double?
  /// What the learning rate is multiplied by.
  public var learningRateFactor = 1.0
  /// 32 for a state in float32, 8 for one in blockwise codes.
  public var stateBits = 32
  /// Elements of a block, 1 to 1024; bitsandbytes reads 256 only.
  public var blockSize = 256
  /// Parameters of fewer elements have a float32 state in any case.
  public var minimum8bitCount = 4096

  /// Makes a rule's settings with bitsandbytes' defaults.
  ///
  /// - Parameters:
  ///   - rule: What a step does.
  ///   - stateBits: 32 or 8.
  ///   - weightDecay: nil for the rule's default: 0.01 for AdamW and AdEMAMix, else 0.
  public init(_ rule: UpdateRule, stateBits: Int = 32, weightDecay: Double? = nil) {
    self.rule = rule
    self.stateBits = stateBits
    switch rule {
    case .adamW, .adEMAMix: self.weightDecay = 0.01
    case .lion: beta2 = 0.99
    case .rmsProp: beta2 = 0.99
    case .adagrad: epsilon = 1e-10
    case .lamb: maximumUpdateNorm = 1
    case .lars: maximumUpdateNorm = 0.02
    case .adam, .sgd: break
    }
    if let weightDecay { self.weightDecay = weightDecay }
  }
}

extension FusedOptimizerConfiguration {
  /// Whether the state of a parameter is in codes of 8 bits.
  func usesCodes(elements: Int) -> Bool { stateBits == 8 && elements >= minimum8bitCount }

  /// A programmer's error traps.
  func check(_ name: String) {
    let share = 0.0..<1.0
    precondition(
      [beta1, beta2, beta3].allSatisfy(share.contains) && weightDecay >= 0 && alpha >= 0
        && learningRateFactor >= 0 && (maximumUpdateNorm ?? 1) > 0, "\(name): \(self)")
    // Without it an element that never had a gradient becomes 0 / 0.
    precondition(!rule.divides || epsilon > 0, "\(name): \(rule) needs an epsilon above 0")
    precondition(
      maximumUpdateNorm == nil || rule.hasUpdateNorm, "\(name): \(rule) has no maximumUpdateNorm")
    precondition(
      beta3Warmup == nil || (beta1 > 0 && beta3 > 0), "\(name): beta3Warmup needs betas above 0")
    precondition(stateBits == 8 || stateBits == 32, "\(name): a state of \(stateBits) bits")
    precondition(
      (1...GRAFT_LARGEST_OPTIMIZER_BLOCK).contains(blockSize), "\(name): a block of \(blockSize)")
  }

  /// What the length of the kernels' direction is multiplied by to get that of the rule's.
  func directionScale(at count: Int) -> Double {
    guard rule.kernel == GRAFT_ADAM else { return 1 }
    return (1 - pow(beta2, Double(count))).squareRoot() / (1 - pow(beta1, Double(count)))
  }

  /// The step of a count, 1 for the first, with everything that depends on the count worked out.
  ///
  /// - Parameters:
  ///   - count: Steps with this one.
  ///   - learningRate: Size of the step before ``learningRateFactor``.
  ///   - shortening: What the direction is multiplied by.
  /// - Returns: What kernels take.
  func step(_ count: Int, learningRate: Double, shortening: Double = 1) -> graft_optimizer_step {
    let rate = learningRate * learningRateFactor
    let time = Double(count)
    let rootCorrection = (1 - pow(beta2, time)).squareRoot()
    var step = graft_optimizer_step()
    step.rule = Int32(rule.kernel)
    step.rate = Float(rate * directionScale(at: count) * shortening)
    step.keep = Float(rule.isDecayDecoupled ? 1 - rate * weightDecay : 1)
    step.decay = Float(rule.isDecayDecoupled ? 0 : weightDecay)
    // (m / c1) / (sqrt(v) / c2 + e) = (c2 / c1) m / (sqrt(v) + c2 e)
    step.epsilon = Float(rule.kernel == GRAFT_ADAM ? epsilon * rootCorrection : epsilon)
    (step.beta1, step.gain1) = (Float(beta1), Float(1 - beta1))
    (step.beta2, step.gain2) = (Float(beta2), Float(1 - beta2))
    if rule == .adEMAMix {
      let slow = slowDecay(at: time)
      (step.beta3, step.gain3) = (Float(slow), Float(1 - slow))
      step.alpha = Float(alphaWarmup.map { min(time * alpha / Double($0), alpha) } ?? alpha)
      step.correction1 = Float(1 / (1 - pow(beta1, time)))
      step.correction2 = Float(1 / rootCorrection)
    }
    return step
  }

  /// ``beta3`` on its way: the half-life of the slow mean grows linearly.
  private func slowDecay(at time: Double) -> Double {
    guard let beta3Warmup else { return beta3 }
    let share = min(1, time / Double(beta3Warmup))
    let (start, end) = (log(beta1), log(beta3))
    return min(beta3, exp(start * end / ((1 - share) * end + share * start)))
  }
}
