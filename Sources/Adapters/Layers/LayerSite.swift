import Layers
import Tensors

/// A linear layer that gets an adapter, or a part of a model that is taken for one.
struct LayerSite: InitialNumbers {
  /// The layer's path in the model.
  let path: String
  /// What the adapter is added to.
  let base: any LinearProjection
  /// Source of the adapter's initial numbers.
  let generator: Generator

  var inputSize: Int { base.inputSize }
  var outputSize: Int { base.outputSize }
  var device: Device { base.device }

  var baseDType: DType { base.dtype }
  var isLoading = false
  /// Whether it is the output head, whose inputs are not rows of a batch while a loss is computed.
  var isOutputHead = false
  var wantedType: DType?
  /// Adapters that the layer has already.
  var neighbours: [(name: String, adapter: any LayerAdapter)] = []
  /// Where it is a convolution's kernels as a matrix, their shape.
  var kernel: KernelShape?

  /// W as numbers of the adapter's type.
  func weight() -> Tensor { base.denseWeight().detached().to(dtype) }

  /// W in a type that decompositions know.
  func wideWeight() -> Tensor { base.denseWeight().detached().to(.computing(base.dtype)) }
}

extension LayerSite {
  /// Refuses a rank that no matrix of the layer's shape can have; PEFT's files may ask for it.
  func check(rank: Int, field: String = "rank (r)") throws(AdapterError) {
    guard rank <= min(inputSize, outputSize) || isLoading else {
      throw .configuration(
        field: "\(field) for \(path)",
        expected: "at most \(min(inputSize, outputSize)), the smaller size of its weight",
        actual: "\(rank)")
    }
  }
}

/// Where the initial numbers of an adapter come from.
protocol ParameterSource {
  var generator: Generator { get }
  /// Type of the adapter's numbers.
  var dtype: DType { get }
  var device: Device { get }
  /// Whether the adapter's tensors come from a file: then there is no need to draw any, and those that
  /// the functions below make have shapes but no memory.
  var isLoading: Bool { get }
}

/// A place beside a weight of the model.
protocol InitialNumbers: ParameterSource {
  /// Type of the base's weight as numbers.
  var baseDType: DType { get }
  /// Type of the adapter's numbers, when one is asked for.
  var wantedType: DType? { get }
}

extension InitialNumbers {
  /// Type of the adapter's numbers: float32 beside a base of half precision, as in PEFT, unless
  /// another one is asked for.
  var dtype: DType { wantedType ?? .computing(baseDType) }
}

/// Initial numbers, drawn on the processor, so that a seed gives the same ones on every device.
extension ParameterSource {
  /// A parameter of these numbers, beside the base.
  func parameter(_ value: Tensor) -> Parameter {
    Parameter(value.to(dtype).to(device: device).contiguous().cloned())
  }

  func zeros(_ shape: [Int]) -> Parameter { constant(shape, 0) }

  func constant(_ shape: [Int], _ value: Double) -> Parameter {
    made(shape) { $0.fillInPlace(value) }
  }

  /// Uniform in ± bound.
  func uniform(_ shape: [Int], bound: Double) -> Parameter {
    made(shape) { $0.fillUniformInPlace(-bound, bound, generator: generator) }
  }

  /// As torch's `kaiming_uniform_` with a = sqrt 5: uniform in ± 1 / sqrt(the second dimension).
  func linearUniform(_ shape: [Int]) -> Parameter {
    uniform(shape, bound: 1 / Double(max(shape.dropFirst().reduce(1, *), 1)).squareRoot())
  }

  func normal(_ shape: [Int], deviation: Double = 1) -> Parameter {
    made(shape) { $0.fillNormalInPlace(deviation: deviation, generator: generator) }
  }

  /// A tensor where the layer is; one that only has a shape stays so.
  func placed(_ tensor: Tensor) -> Tensor {
    tensor.device.kind == .meta ? tensor : tensor.to(device: device)
  }

  private func made(_ shape: [Int], _ fill: (Tensor) -> Void) -> Parameter {
    guard !isLoading else { return Parameter(.empty(shape, dtype: dtype, device: .meta)) }
    let values = Tensor.empty(shape, dtype: dtype)
    fill(values)
    return Parameter(values.to(device: device))
  }
}
