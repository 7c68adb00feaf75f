public import Layers
public import Tensors

/// Something that adds to what an attention block gathers, before its output projection.
public protocol AttentionExtension: Module {
  /// What its parameters' paths have behind the block's.
  var name: String { get }

  /// What is added to the gathered values.
  ///
  /// - Parameters:
  ///   - query: `[batch, heads, length, headSize]`, normalised and rotated.
  ///   - key: The block's key projection.
  ///   - value: The block's value projection.
  /// - Returns: `[batch, heads, length, headSize]`, of the query's type.
  func callAsFunction(query: Tensor, key: Linear, value: Linear) -> Tensor
}

/// An attention block that can be given more to gather from.
public protocol ExtensibleAttention: Module {
  /// What is added, in this order.
  var extensions: [any AttentionExtension] { get set }
  /// Size of the last dimension of inputs.
  var inputSize: Int { get }
  /// Dimensions of one head.
  var headSize: Int { get }
  /// Type of the weights as numbers.
  var dtype: DType { get }
  /// Where the weights live.
  var device: Device { get }
}
