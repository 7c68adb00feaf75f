import Checkpoints
import Layers
import Tensors

/// Layers of heads, from a checkpoint or new where it has none.
final class HeadLoader {
  let weights: ModelWeights
  private let deviation: Double
  private let generator: Generator
  private let dtype: DType
  /// Paths of layers that were new.
  private(set) var newLayers: [String] = []

  init(_ weights: ModelWeights, initializerRange: Double, storedDType: DType?, seed: UInt64) {
    self.weights = weights
    deviation = initializerRange
    generator = Generator(seed: seed)
    dtype = weights.dtype ?? storedDType ?? .float32
  }

  /// The layers that a family names.
  ///
  /// - Parameters:
  ///   - names: Their paths.
  ///   - activation: The function where the family does not name one.
  ///   - size: Width of what the head reads.
  ///   - hasBias: Whether layers in front of the last one have biases.
  ///   - normBias: Whether the norm has one.
  ///   - epsilon: Added to variances.
  ///   - output: Makes the last layer.
  /// - Returns: The head.
  /// - Throws: ``ModelError`` when a stored layer has another shape.
  func head(
    _ names: HeadNames, activation: ActivationFunction, size: Int, hasBias: Bool, normBias: Bool,
    epsilon: Double, output: () throws -> Linear
  ) throws -> TaskHead {
    TaskHead(
      dense: try names.dense.map { try linear($0, [size, size], hasBias: hasBias) },
      activation: names.activation ?? activation,
      norm: try names.norm.map {
        try norm($0, size: size, epsilon: epsilon, hasBias: normBias)
      }, output: try output())
  }

  /// A layer; heads stay dense where a base is quantised.
  ///
  /// - Parameters:
  ///   - path: Its path in the model.
  ///   - shape: Outputs and inputs.
  ///   - hasBias: Whether it has a bias.
  ///   - prefix: What files may leave out of the path.
  /// - Returns: The layer.
  /// - Throws: ``ModelError`` when the stored one has another shape.
  func linear(
    _ path: String, _ shape: [Int], hasBias: Bool = true, prefix: String = ""
  ) throws -> Linear {
    let name = stored(path, prefix)
    if weights.offers(name + ".weight") {
      return try weights.linear(name, shape, hasBias: hasBias, staysDense: true)
    }
    newLayers.append(path)
    let numbers = Tensor.randomNormal(shape, generator: generator) * deviation
    return Linear(
      weight: numbers.to(dtype).to(device: weights.device),
      bias: hasBias ? Tensor.zeros([shape[0]], dtype: dtype, device: weights.device) : nil)
  }

  private func norm(
    _ path: String, size: Int, epsilon: Double, hasBias: Bool
  ) throws -> LayerNorm {
    let exists = ["weight", "gamma"].contains { weights.offers("\(path).\($0)") }
    if exists {
      return try weights.layerNorm(path, size: size, epsilon: epsilon, hasBias: hasBias)
    }
    newLayers.append(path)
    return LayerNorm(
      weight: Parameter(Tensor.ones([size], dtype: dtype, device: weights.device)),
      bias: hasBias ? Parameter(Tensor.zeros([size], dtype: dtype, device: weights.device)) : nil,
      epsilon: epsilon)
  }

  /// The bias of an output head over the vocabulary, under the first of some names.
  func vocabularyBias(_ names: [String], count: Int) throws -> Parameter {
    guard let name = names.first(where: weights.offers) else {
      return Parameter(Tensor.zeros([count], dtype: dtype, device: weights.device))
    }
    return Parameter(try weights.tensor(name, [count]))
  }

  /// What a checkpoint calls a layer of the bare model, whose name it may leave out.
  private func stored(_ path: String, _ prefix: String) -> String {
    guard !prefix.isEmpty, weights.prefix.isEmpty else { return path }
    return String(path.dropFirst(prefix.count))
  }
}
