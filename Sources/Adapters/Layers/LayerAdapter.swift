import Layers
import Tensors

/// What one adapter does to one linear layer.
///
/// Several adapters of a layer are nested in their order, the last one outside: the last one changes
/// the input first, then those before it, then the base multiplies, then each changes the output, the
/// first one first.
protocol LayerAdapter: PartAdapter {
  /// What the base gets instead of x.
  ///
  /// - Parameters:
  ///   - x: `[..., inputSize]`.
  ///   - context: Whether dropout is on, and its generator.
  /// - Returns: `[..., inputSize]`, of x's type.
  func input(_ x: Tensor, _ context: AdapterContext) -> Tensor

  /// What the layer returns instead of y.
  ///
  /// - Parameters:
  ///   - y: `[..., outputSize]`: fresh, so that it may be written to.
  ///   - x: What ``input(_:_:)`` got, `[..., inputSize]`.
  ///   - base: The layer's projection, for methods that need the weight or another product.
  ///   - context: Whether dropout is on, and its generator.
  /// - Returns: `[..., outputSize]`, of y's type.
  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor

  /// Does to a weight what the adapter does to the layer, without dropout.
  ///
  /// - Parameter layer: The weight and bias so far, in float32 or wider.
  func merge(into layer: inout MergedLayer)

  /// Why the adapter cannot be merged into this layer; nil when it can.
  ///
  /// - Parameter base: The layer's projection.
  /// - Returns: What is wrong, for a message.
  func obstacle(toMergingInto base: any LinearProjection) -> String?
}

extension LayerAdapter {
  func obstacle(toMergingInto base: any LinearProjection) -> String? { nil }

  func input(_ x: Tensor, _ context: AdapterContext) -> Tensor { x }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor { y }
}

/// An adapter of a linear layer that acts on another part, whose tensors are its own.
protocol OutsideLinearLayer: PartAdapter {
  /// The adapter of a linear layer.
  var inner: any LayerAdapter { get }
}

extension OutsideLinearLayer {
  var parameters: [AdapterParameter] { inner.parameters }
  var shared: [AdapterParameter] { inner.shared }

  func didLoad() throws(AdapterError) { try inner.didLoad() }
}

/// A tensor of an adapter.
struct AdapterParameter {
  /// What files put behind the layer's path, for example "lora_A.weight".
  let name: String
  let parameter: Parameter
  /// Whether training changes it; else it is only stored.
  let isTrained: Bool
  /// A dimension whose size a file decides; nil for none.
  let freeDimension: Int?
  /// Whether files hold the matrix transposed, as a copy of such a weight of the base.
  let isTransposedInFiles: Bool

  init(
    _ name: String, _ parameter: Parameter, isTrained: Bool = true, freeDimension: Int? = nil,
    isTransposedInFiles: Bool = false
  ) {
    self.name = name
    self.parameter = parameter
    self.isTrained = isTrained
    self.freeDimension = freeDimension
    self.isTransposedInFiles = isTransposedInFiles
  }

  /// The tensor as files hold it; it shares the parameter's memory.
  var stored: Tensor { isTransposedInFiles ? parameter.value.transposed() : parameter.value }
}

/// A layer while adapters are merged into it.
struct MergedLayer {
  /// W, `[outputSize, inputSize]`, float32 or wider; a copy that may be written to.
  var weight: Tensor
  /// b, `[outputSize]`, in W's type, or nil; a copy.
  var bias: Tensor?
}

/// An adapter that adds a product with a matrix of its own: y + x D^T.
///
/// Methods whose D has no cheaper product than itself only say what it is.
protocol DeltaAdapter: LayerAdapter {
  /// Share of x that is dropped in training.
  var dropout: Double { get }

  /// D, `[outputSize, inputSize]`, differentiable in the adapter's parameters.
  func delta() -> Tensor
}

extension DeltaAdapter {
  var dropout: Double { 0 }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let delta = delta()
    let dropped = context.dropped(x, dropout)
    return y.adding(wide: dropped.to(delta.dtype).linear(delta))
  }

  func merge(into layer: inout MergedLayer) {
    layer.weight.addInPlace(delta().detached().to(layer.weight.dtype))
  }
}

/// An adapter that adds a product with two narrow factors, which it computes: y + s x A^T B^T.
protocol FactoredAdapter: LayerAdapter {
  /// Share of x that is dropped in training.
  var dropout: Double { get }

  /// s.
  var scale: Double { get }

  /// A `[rank, inputSize]` and B `[outputSize, rank]`, differentiable in the adapter's parameters.
  func factors() -> (a: Tensor, b: Tensor)
}

extension FactoredAdapter {
  var dropout: Double { 0 }
  var scale: Double { 1 }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let (a, b) = factors()
    return addingLowRankProduct(
      to: y, x, a: a, b: b, scale: scale, dropout: context.isTraining ? dropout : 0,
      generator: context.generator)
  }

  func merge(into layer: inout MergedLayer) {
    let (a, b) = factors()
    layer.weight.addInPlace(
      b.matrixProduct(a).detached().to(layer.weight.dtype), scale: scale)
  }
}

extension AdapterContext {
  /// x with a share of it dropped and the rest scaled up, in training.
  func dropped(_ x: Tensor, _ share: Double) -> Tensor {
    isTraining && share > 0 ? x.dropout(share, generator: generator) : x
  }
}

extension Tensor {
  /// The sum with an update of another type, in float32 or wider, rounded once to this one.
  func adding(wide update: Tensor) -> Tensor {
    if dtype == update.dtype { return self + update }
    let sum = DType.computing(dtype, update.dtype)
    return (to(sum) + update.to(sum)).to(dtype)
  }
}
