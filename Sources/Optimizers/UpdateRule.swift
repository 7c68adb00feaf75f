import CKernels

/// How ``FusedOptimizer`` changes a parameter w by its gradient g.
///
/// lr is the learning rate, d the weight decay, b1, b2 and b3 the betas, e the epsilon, t the count of
/// steps with this one; c1 = 1 - b1^t and c2 = sqrt(1 - b2^t). m, n and v are states. Where decay is
/// decoupled, w = w (1 - lr d) comes first; else g = g + d w does.
public enum UpdateRule: String, CaseIterable, Hashable, Sendable {
  /// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w = w - lr (m / c1) / (sqrt(v) / c2 + e).
  ///
  /// Decay is decoupled, as in ``adamW``; only its default differs. Source: Kingma and Ba 2014, arXiv
  /// 1412.6980.
  case adam
  /// As ``adam``. Source: Loshchilov and Hutter 2017, arXiv 1711.05101.
  case adamW = "adamw"
  /// w = w - lr sign(b1 m + (1 - b1) g), then m = b2 m + (1 - b2) g; decay is decoupled.
  ///
  /// Source: Chen et al. 2023, arXiv 2302.06675.
  case lion
  /// m = b1 m + g, w = w - lr m; the decay is added to g.
  ///
  /// Source: torch.optim.SGD with momentum b1, without dampening.
  case sgd
  /// v = b2 v + (1 - b2) g^2, w = w - lr g / (sqrt(v) + e); the decay is added to g.
  ///
  /// Source: torch.optim.RMSprop with smoothing b2.
  case rmsProp = "rmsprop"
  /// v = v + g^2, w = w - lr g / (sqrt(v) + e); the decay is added to g.
  ///
  /// Source: Duchi, Hazan and Singer 2011, JMLR 12.
  case adagrad
  /// ``adam`` with its direction, (m / c1) / (sqrt(v) / c2 + e), shortened to a multiple of w's length.
  ///
  /// Source: bitsandbytes 0.50.2 on CUDA; You et al. 2019, arXiv 1904.00962, also lengthen it, and
  /// count the decay in.
  case lamb
  /// ``sgd`` with its direction, b1 m + g without decay, shortened to a multiple of w's length.
  ///
  /// Source: bitsandbytes 0.50.2 on CUDA; You et al. 2017, arXiv 1708.03888, take g's length.
  case lars
  /// m = b1 m + (1 - b1) g, n = b3 n + (1 - b3) g, v as ``adam``; decay is decoupled,
  /// w = w - lr (m / c1 + alpha n) / (sqrt(v) / c2 + e).
  ///
  /// Source: Pagliardini et al. 2024, arXiv 2409.03137.
  case adEMAMix = "ademamix"
}

extension UpdateRule {
  /// Whether there is a second state, the mean squared gradient beside the mean one.
  public var hasSecondState: Bool {
    switch self {
    case .adam, .adamW, .lamb, .adEMAMix: true
    case .lion, .sgd, .rmsProp, .adagrad, .lars: false
    }
  }

  /// Whether weight decay shrinks the parameter and not its gradient grows.
  var isDecayDecoupled: Bool {
    switch self {
    case .adam, .adamW, .lamb, .adEMAMix, .lion: true
    case .sgd, .rmsProp, .adagrad, .lars: false
    }
  }

  /// Whether its direction can be measured and shortened.
  var hasUpdateNorm: Bool { kernel == GRAFT_ADAM || kernel == GRAFT_MOMENTUM }

  /// Whether it has ``FusedOptimizerConfiguration/beta1``.
  public var usesBeta1: Bool { self != .rmsProp && self != .adagrad }

  /// Whether it has ``FusedOptimizerConfiguration/beta2``.
  public var usesBeta2: Bool { self != .sgd && self != .lars && self != .adagrad }

  /// Whether it divides by a root plus ``FusedOptimizerConfiguration/epsilon``.
  public var divides: Bool { kernel != GRAFT_LION && kernel != GRAFT_MOMENTUM }

  /// The kernels' number of its arithmetic.
  var kernel: Int {
    switch self {
    case .adam, .adamW, .lamb: GRAFT_ADAM
    case .lion: GRAFT_LION
    case .sgd, .lars: GRAFT_MOMENTUM
    case .rmsProp: GRAFT_RMSPROP
    case .adagrad: GRAFT_ADAGRAD
    case .adEMAMix: GRAFT_ADEMAMIX
    }
  }
}
