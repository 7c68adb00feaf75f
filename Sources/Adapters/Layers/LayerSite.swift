import Layers
import Tensors

/// A linear layer that gets an adapter.
struct LayerSite {
  /// The layer's path in the model.
  let path: String
  /// What the adapter is added to.
  let base: any LinearProjection
  /// Source of the adapter's initial numbers.
  let generator: Generator
  /// Whether a file is about to give the adapter's numbers.
  var isRestored = false

  var inputSize: Int { base.inputSize }
  var outputSize: Int { base.outputSize }
  var device: Device { base.device }

  /// Type of the adapter's numbers: float32 beside a base of half precision, as in PEFT.
  var dtype: DType { base.dtype == .float64 ? .float64 : .float32 }

  /// W as numbers of the adapter's type.
  func weight() -> Tensor { base.denseWeight().detached().to(dtype) }
}

/// Initial numbers, drawn on the processor, so that a seed gives the same ones on every device.
extension LayerSite {
  func zeros(_ shape: [Int]) -> Parameter { constant(shape, 0) }

  func constant(_ shape: [Int], _ value: Double) -> Parameter {
    Parameter(Tensor.full(shape, value, dtype: dtype, device: device))
  }

  /// Uniform in ± bound.
  func uniform(_ shape: [Int], bound: Double) -> Parameter {
    let values = Tensor.empty(shape, dtype: dtype)
    values.fillUniformInPlace(-bound, bound, generator: generator)
    return Parameter(values.to(device: device))
  }

  /// As torch's `kaiming_uniform_` with a = sqrt 5: uniform in ± 1 / sqrt(the second dimension).
  func linearUniform(_ shape: [Int]) -> Parameter {
    uniform(shape, bound: 1 / Double(max(shape.dropFirst().reduce(1, *), 1)).squareRoot())
  }

  func normal(_ shape: [Int], deviation: Double = 1) -> Parameter {
    let values = Tensor.empty(shape, dtype: dtype)
    values.fillNormalInPlace(deviation: deviation, generator: generator)
    return Parameter(values.to(device: device))
  }
}
