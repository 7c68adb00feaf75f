public import Layers
public import Tensors

/// How the weights of linear layers are kept when they are quantised.
public enum WeightFormat: Equatable, Sendable {
  /// Whole numbers of 8 bits; elements of activations of at least the threshold are kept apart, none
  /// with 0.
  case int8(threshold: Double)
  /// Codes of 4 bits.
  case fourBit(FourBitType, blockSize: Int, doubleQuantization: Bool)

  /// The name that commands and messages use: "int8", "nf4" or "fp4".
  public var name: String {
    switch self {
    case .int8: "int8"
    case .fourBit(let type, _, _): type.rawValue
    }
  }

  /// How a projection keeps its weight; nil for a dense one.
  ///
  /// - Parameter projection: Whose weight.
  public init?(of projection: any LinearProjection) {
    if let layer = projection as? Linear8bit {
      self = .int8(threshold: layer.threshold)
    } else if let layer = projection as? Linear4bit {
      self = .fourBit(
        layer.weight.type, blockSize: layer.weight.blockSize,
        doubleQuantization: layer.weight.scales.areQuantized)
    } else {
      return nil
    }
  }

  /// Quantises the weight of a linear layer.
  ///
  /// - Parameters:
  ///   - weight: `[outputSize, inputSize]` of a floating-point type.
  ///   - bias: `[outputSize]`, or nil.
  /// - Returns: A projection that computes with the codes.
  public func projection(_ weight: Tensor, bias: Parameter? = nil) -> any LinearProjection {
    switch self {
    case .int8(let threshold):
      Linear8bit(quantizing: weight, bias: bias, threshold: threshold)
    case .fourBit(let type, let blockSize, let nested):
      Linear4bit(
        quantizing: weight, bias: bias, type: type, blockSize: blockSize,
        doubleQuantization: nested)
    }
  }

  /// Quantises an embedding table.
  ///
  /// - Parameter weight: `[count, size]` of a floating-point type.
  /// - Returns: A table that decodes the rows that are looked up.
  public func table(_ weight: Tensor) -> any EmbeddingTable {
    switch self {
    case .int8: Table8bit(quantizing: weight)
    case .fourBit(let type, let blockSize, let nested):
      Table4bit(
        quantizing: weight, type: type, blockSize: blockSize, doubleQuantization: nested)
    }
  }
}

extension WeightFormat {
  /// Bytes of a quantised weight, codes and scales.
  ///
  /// - Parameters:
  ///   - outputs: Rows.
  ///   - inputs: Columns.
  /// - Returns: What ``projection(_:bias:)`` keeps without the bias.
  public func byteCount(outputs: Int, inputs: Int) -> Int {
    let count = outputs * inputs
    switch self {
    case .int8: return count + 4 * outputs
    case .fourBit(_, let blockSize, let nested):
      let blocks = blockCount(count, blockSize)
      // Scales in codes have a scale for each 256, and an offset.
      let scales = nested ? blocks + 4 * blockCount(blocks, 256) + 4 : 4 * blocks
      return (count + 1) / 2 + scales
    }
  }
}

extension WeightFormat: CustomStringConvertible {
  /// The name with the settings, for messages.
  public var description: String {
    switch self {
    case .int8(let threshold): "int8 with threshold \(threshold)"
    case .fourBit(let type, let blockSize, let nested):
      "\(type.rawValue) with blocks of \(blockSize)" + (nested ? " and double quantisation" : "")
    }
  }
}

/// Which parts of a model are quantised, and how.
public struct QuantizationOptions: Equatable, Sendable {
  /// How weights are kept.
  public var format: WeightFormat
  /// Paths, or last parts of paths, of linear layers that stay as they are.
  public var skippedModules: [String]
  /// Whether embedding tables are quantised too; bitsandbytes' files cannot hold them.
  public var quantizesEmbeddings: Bool

  /// Makes options.
  ///
  /// - Parameters:
  ///   - format: How weights are kept.
  ///   - skippedModules: Linear layers that stay as they are; by default the output head.
  ///   - quantizesEmbeddings: Whether embedding tables are quantised too.
  public init(
    _ format: WeightFormat, skippedModules: [String] = ["lm_head"],
    quantizesEmbeddings: Bool = false
  ) {
    self.format = format
    self.skippedModules = skippedModules
    self.quantizesEmbeddings = quantizesEmbeddings
  }

  /// Names of the list that no linear layer has.
  ///
  /// - Parameter model: The model.
  /// - Returns: The names, in their order.
  public func unknownNames(in model: any Module) -> [String] {
    let paths = model.modules().filter { $0.module is Linear }.map(\.path)
    return skippedModules.filter { name in
      let one = QuantizationOptions(format, skippedModules: [name])
      return !paths.contains(where: one.skips)
    }
  }

  /// Whether a layer stays as it is.
  ///
  /// - Parameter path: Its path in the model.
  /// - Returns: True when some name of the list is the path or a whole part of it.
  public func skips(_ path: String) -> Bool {
    skippedModules.contains { path == $0 || ".\(path).".contains(".\($0).") }
  }
}

extension Module {
  /// Quantises the dense linear layers of a model, and its embeddings where that is wanted.
  ///
  /// The dense weights are let go layer by layer.
  ///
  /// - Parameters:
  ///   - options: Which layers, and how.
  ///   - dtype: Type of the quantised weights as numbers; nil for their own.
  public func quantize(_ options: QuantizationOptions, dtype: DType? = nil) {
    for (path, module) in modules() {
      if let layer = module as? Linear, let dense = layer.projection as? DenseProjection,
        !options.skips(path)
      {
        let weight = dense.weight.value
        layer.projection = options.format.projection(
          dtype.map { weight.to($0) } ?? weight, bias: dense.bias)
      } else if options.quantizesEmbeddings, let layer = module as? Embedding,
        let dense = layer.table as? DenseTable
      {
        layer.table = options.format.table(dense.weight.value)
      }
    }
  }

  /// Puts dense weights in the place of quantised ones, layer by layer; those under adapters stay.
  ///
  /// - Parameter dtype: Type of the weights; nil for the one that was quantised.
  public func dequantize(_ dtype: DType? = nil) {
    for (_, module) in modules() {
      if let layer = module as? Linear, !(layer.projection is DenseProjection),
        layer.projection.storedCount > 0
      {
        let weight = layer.projection.denseWeight()
        layer.projection = DenseProjection(
          weight: Parameter(dtype.map { weight.to($0) } ?? weight), bias: layer.projection.bias)
      } else if let layer = module as? Embedding, !(layer.table is DenseTable) {
        let weight = layer.table.denseWeight()
        layer.table = DenseTable(weight: Parameter(dtype.map { weight.to($0) } ?? weight))
      }
    }
  }
}
