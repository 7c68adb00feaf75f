public import Tensors

/// Functions that transformers knows by name; those with numbers of their own have their first ones.
public enum ActivationFunction: String, Sendable, CaseIterable {
  /// x Phi(x).
  case gelu
  /// The same.
  case geluPython = "gelu_python"
  /// `gelu` between -10 and 10.
  case gelu10 = "gelu_10"
  /// `gelu` by the formula with tanh.
  case geluFast = "gelu_fast"
  /// The same.
  case geluNew = "gelu_new"
  /// The same.
  case geluTanh = "gelu_pytorch_tanh"
  /// The same.
  case geluPythonTanh = "gelu_python_tanh"
  /// The same.
  case geluAccurate = "gelu_accurate"
  /// x sigmoid(1.702 x).
  case quickGelu = "quick_gelu"
  /// x min(max(x + 3, 0), 6) / 6.
  case hardswish
  /// Phi of (x - 0.707107) / 0.282095.
  case laplace
  /// 0.01 x below zero.
  case leakyReLU = "leaky_relu"
  /// x.
  case linear
  /// x tanh(log(1 + exp(x))).
  case mish
  /// 0.25 x below zero.
  case prelu
  /// max(x, 0).
  case relu
  /// Its square.
  case relu2
  /// `relu` up to 6.
  case relu6
  /// 1 / (1 + exp(-x)).
  case sigmoid
  /// x sigmoid(x).
  case silu
  /// The same.
  case swish
  /// The root of log(1 + exp(x)).
  case sqrtSoftplus = "sqrtsoftplus"
  /// Hyperbolic tangent.
  case tanh
  /// Quadratic above zero, exponential below.
  ///
  /// Source: Huang and Schlag 2024, arXiv 2411.13010.
  case xielu

  /// Applies the function to every number.
  ///
  /// - Parameter x: Any shape.
  /// - Returns: The same shape.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    switch self {
    case .gelu, .geluPython: x.gelu()
    case .gelu10: x.gelu().clamped(lower: -10, upper: 10)
    case .geluFast, .geluNew, .geluTanh, .geluPythonTanh, .geluAccurate:
      x.gelu(tanhApproximation: true)
    case .quickGelu: x * (x * 1.702).sigmoid()
    case .hardswish: x * (x + 3).clamped(lower: 0, upper: 6) / 6
    case .laplace: ((x - 0.707107) / (0.282095 * 2.0.squareRoot())).errorFunction() * 0.5 + 0.5
    case .leakyReLU: x.relu() - (-x).relu() * 0.01
    case .linear: x
    case .mish: x * x.softplus().tanh()
    case .prelu: x.relu() - (-x).relu() * 0.25
    case .relu: x.relu()
    case .relu2: x.relu() * x.relu()
    case .relu6: x.clamped(lower: 0, upper: 6)
    case .sigmoid: x.sigmoid()
    case .silu, .swish: x.silu()
    case .sqrtSoftplus: x.softplus().squareRoot()
    case .tanh: x.tanh()
    case .xielu: xielu(x)
    }
  }

  private func xielu(_ x: Tensor) -> Tensor {
    // transformers keeps 0.8 and -1e-6 in bfloat16.
    let (curvature, slope, limit) = (0.80078125, 0.5, -9.98377799987793e-7)
    let above = x * x * curvature + x * slope
    let below = (x.clamped(upper: limit).exponentialMinusOne() - x) * curvature + x * slope
    return .choosing(x .> 0, above, below)
  }
}
