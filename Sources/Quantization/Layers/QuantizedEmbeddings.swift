public import Layers
public import Tensors

/// An embedding table in row codes of 8 bits: a row is a token.
public final class Table8bit: EmbeddingTable {
  /// The table.
  public let weight: RowCodes

  /// Makes a table over stored codes.
  ///
  /// - Parameter weight: `[count, size]`, without outliers.
  public init(weight: RowCodes) { self.weight = weight }

  /// Quantises a table.
  ///
  /// - Parameter weight: `[count, size]` of a floating-point type.
  public convenience init(quantizing weight: Tensor) {
    self.init(weight: RowCodes(quantizingWeight: weight))
  }

  /// Rows of the table.
  public var count: Int { weight.codes.size(0) }
  /// Numbers of a row.
  public var size: Int { weight.codes.size(1) }
  /// Where the codes live.
  public var device: Device { weight.codes.device }
  /// Type of decoded rows.
  public var dtype: DType { weight.dtype }

  /// Looks rows up; only these are decoded.
  ///
  /// - Parameter ids: int64 row numbers of any shape.
  /// - Returns: Their shape and `size`.
  public func callAsFunction(_ ids: Tensor) -> Tensor {
    let places = ids.reshaped([-1])
    let rows = RowCodes(
      codes: weight.codes.selecting(0, places), scales: weight.scales.selecting(0, places),
      dtype: weight.dtype)
    return rows.dequantized().reshaped(ids.shape + [size])
  }

  /// The whole table as numbers.
  ///
  /// - Returns: A new tensor, `[count, size]`.
  public func denseWeight() -> Tensor { weight.dequantized() }

  /// Codes and scales.
  public var heldTensors: [Tensor] { weight.heldTensors }

  /// `weight` (the codes) and `SCB` (the rows' largest magnitudes).
  public var storedTensors: [(name: String, tensor: Tensor)] { weight.storedTensors }

  /// Elements of the table.
  public var storedCount: Int { weight.codes.count }
}

/// An embedding table in codes of 4 bits.
public final class Table4bit: EmbeddingTable {
  /// The table.
  public let weight: FourBitCodes

  /// Makes a table over stored codes.
  ///
  /// - Parameter weight: Codes of a table `[count, size]`.
  public init(weight: FourBitCodes) {
    precondition(weight.shape.count == 2, "Table4bit: a table of shape \(weight.shape)")
    self.weight = weight
  }

  /// Quantises a table.
  ///
  /// Blocks are made to divide a row where some allowed size does, so that a row can be decoded
  /// alone.
  ///
  /// - Parameters:
  ///   - weight: `[count, size]` of a floating-point type.
  ///   - type: What codes mean.
  ///   - blockSize: Most elements of a block.
  ///   - doubleQuantization: Whether the magnitudes of blocks are quantised too.
  public convenience init(
    quantizing weight: Tensor, type: FourBitType = .nf4, blockSize: Int = 64,
    doubleQuantization: Bool = false
  ) {
    let fitting = FourBitCodes.blockSizes.last {
      $0 <= blockSize && weight.size(1) % $0 == 0
    }
    self.init(
      weight: FourBitCodes(
        quantizing: weight.to(quantizableType(weight.dtype)), type: type,
        blockSize: fitting ?? blockSize,
        doubleQuantization: doubleQuantization))
  }

  /// Rows of the table.
  public var count: Int { weight.shape[0] }
  /// Numbers of a row.
  public var size: Int { weight.shape[1] }
  /// Where the codes live.
  public var device: Device { weight.bytes.device }
  /// Type of decoded rows.
  public var dtype: DType { weight.dtype }

  /// Looks rows up.
  ///
  /// Only these are decoded where a row is whole blocks; else the whole table is.
  ///
  /// - Parameter ids: int64 row numbers of any shape.
  /// - Returns: Their shape and `size`.
  public func callAsFunction(_ ids: Tensor) -> Tensor {
    let places = ids.reshaped([-1])
    guard size % weight.blockSize == 0 else {
      return weight.dequantized().selecting(0, places).reshaped(ids.shape + [size])
    }
    let bytes = weight.bytes.reshaped([count, size / 2]).selecting(0, places)
    let scales = weight.scales.values.reshaped([count, -1]).selecting(0, places)
    let rows = FourBitCodes(
      bytes: bytes, scales: .plain(scales.reshaped([-1])), blockSize: weight.blockSize,
      type: weight.type, shape: [places.count, size], dtype: weight.dtype)
    return rows.dequantized().reshaped(ids.shape + [size])
  }

  /// The whole table as numbers.
  ///
  /// - Returns: A new tensor, `[count, size]`.
  public func denseWeight() -> Tensor { weight.dequantized() }

  /// Codes and scales.
  public var heldTensors: [Tensor] { weight.heldTensors }

  /// Codes, scales and tables, under bitsandbytes' names.
  public var storedTensors: [(name: String, tensor: Tensor)] { weight.storedTensors }

  /// Elements of the table.
  public var storedCount: Int { weight.count }
}
