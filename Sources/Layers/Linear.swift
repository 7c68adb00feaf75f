public import Tensors

/// A linear layer: a place in the model whose projection can be exchanged.
///
/// Quantisation and adapters replace `projection`; the layer's place and path stay.
public final class Linear: Module {
  /// What the layer computes with.
  public var projection: any LinearProjection
  /// Whether files hold the weight as `[inputSize, outputSize]`, as GPT-2's do.
  public let isTransposedInFiles: Bool

  /// Makes a layer.
  ///
  /// - Parameters:
  ///   - projection: What it computes with.
  ///   - isTransposedInFiles: Whether files hold the weight as `[inputSize, outputSize]`.
  public init(_ projection: any LinearProjection, isTransposedInFiles: Bool = false) {
    self.projection = projection
    self.isTransposedInFiles = isTransposedInFiles
  }

  /// Makes a dense layer.
  ///
  /// - Parameters:
  ///   - weight: `[outputSize, inputSize]`.
  ///   - bias: `[outputSize]`, or nil.
  public convenience init(weight: Tensor, bias: Tensor? = nil) {
    self.init(DenseProjection(weight: Parameter(weight), bias: bias.map(Parameter.init)))
  }

  /// Size of the last dimension of inputs.
  public var inputSize: Int { projection.inputSize }
  /// Size of the last dimension of outputs.
  public var outputSize: Int { projection.outputSize }

  /// y = x W^T + b.
  ///
  /// - Parameter x: `[..., inputSize]`.
  /// - Returns: `[..., outputSize]`.
  public func callAsFunction(_ x: Tensor) -> Tensor { projection(x) }

  /// The projection's parts: what an adapter adds, or none.
  public var children: [(name: String, module: any Module)] { projection.children }

  /// What the projection holds besides parameters.
  public var storedTensors: [(name: String, tensor: Tensor)] { projection.storedTensors }

  /// How many numbers those tensors stand for.
  public var storedCount: Int { projection.storedCount }

  /// What the projection computes with besides parameters.
  public var heldTensors: [Tensor] { projection.heldTensors }

  /// The projection's parameters.
  ///
  /// - Parameter transform: Gets each parameter's name.
  public func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    projection.mapParameters(transform)
  }
}

extension Module {
  /// Paths of the weights below this module that files hold as `[inputSize, outputSize]`.
  public var pathsTransposedInFiles: Set<String> {
    Set(
      modules().filter { ($0.module as? Linear)?.isTransposedInFiles ?? false }
        .flatMap { [joined($0.path, "weight"), joined($0.path, "base_layer.weight")] })
  }
}
