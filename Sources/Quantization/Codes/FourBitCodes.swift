import CKernels
public import Tensors

/// The two sets of numbers that codes of 4 bits can mean.
public enum FourBitType: String, CaseIterable, Codable, Sendable {
  /// Quantiles of the normal distribution, with an exact 0; 1 and -1 are in it.
  case nf4
  /// A sign, and a magnitude of 3 bits.
  case fp4

  /// The 16 numbers by code.
  public var values: [Float] {
    Array(UnsafeBufferPointer(start: graft_code_4bit(kind), count: 16))
  }

  var kind: Int32 { self == .nf4 ? Int32(GRAFT_NF4) : Int32(GRAFT_FP4) }
}

/// A tensor in codes of 4 bits, a block of neighbours at a time over their largest magnitude.
///
/// As ``BlockwiseCodes``, with two codes a byte, the first in the upper half. NF4: a number exactly
/// between two gets the lower code. FP4: the smaller magnitude, and the sign bit is set exactly for
/// numbers below zero.
///
/// - Note: Source: Dettmers et al. 2023, arXiv 2305.14314; the files of bitsandbytes 0.50.2.
public struct FourBitCodes {
  /// Block sizes that files may have.
  public static let blockSizes = [32, 64, 128, 256, 512, 1024, 2048, 4096]

  /// Pairs of codes, uint8 `[(count + 1) / 2, 1]`.
  public let bytes: Tensor
  /// The largest magnitude of each block.
  public let scales: BlockScales
  /// Elements of a block.
  public let blockSize: Int
  /// What codes mean.
  public let type: FourBitType
  /// Shape of the tensor that was quantised.
  public let shape: [Int]
  /// Type of the tensor that was quantised.
  public let dtype: DType

  /// Elements of the tensor.
  public var count: Int { shape.reduce(1, *) }

  /// Puts together what was stored.
  ///
  /// - Parameters:
  ///   - bytes: uint8, `(count + 1) / 2` of them.
  ///   - scales: The largest magnitude of each block.
  ///   - blockSize: Elements of a block.
  ///   - type: What codes mean.
  ///   - shape: Shape of the tensor.
  ///   - dtype: Type that ``dequantized(_:)`` returns.
  /// - Precondition: There are as many bytes and scales as the shape needs, and the block size is one
  ///   of ``blockSizes``.
  public init(
    bytes: Tensor, scales: BlockScales, blockSize: Int, type: FourBitType, shape: [Int],
    dtype: DType
  ) {
    let count = shape.reduce(1, *)
    precondition(
      bytes.dtype == .uint8 && bytes.count == (count + 1) / 2,
      "FourBitCodes: \(bytes.dtype)\(bytes.shape) for a tensor of shape \(shape)")
    precondition(
      Self.blockSizes.contains(blockSize), "FourBitCodes: a block of \(blockSize) elements")
    scales.requireCount(of: count, blockSize: blockSize, in: "FourBitCodes")
    self.bytes = bytes
    self.scales = scales
    self.blockSize = blockSize
    self.type = type
    self.shape = shape
    self.dtype = dtype
  }

  /// Quantises a tensor.
  ///
  /// - Parameters:
  ///   - x: float32, float16 or bfloat16 of any shape.
  ///   - type: What codes mean.
  ///   - blockSize: Elements of a block, one of ``blockSizes``.
  ///   - doubleQuantization: Whether the magnitudes are quantised too, in blocks of 256.
  public init(
    quantizing x: Tensor, type: FourBitType = .nf4, blockSize: Int = 64,
    doubleQuantization: Bool = false
  ) {
    precondition(
      Self.blockSizes.contains(blockSize), "FourBitCodes: a block of \(blockSize) elements")
    let source = x.detached().to(device: .cpu).contiguous()
    let element = floatType(of: source.dtype, in: "FourBitCodes")
    let blocks = blockCount(source.count, blockSize)
    let bytes = Tensor.empty([(source.count + 1) / 2, 1], dtype: .uint8)
    let absmax = Tensor.empty([blocks], dtype: .float32)
    let count = Int64(source.count)
    forEachBlockRange(blocks, blockSize: blockSize, [source, bytes, absmax], name: "quantize_4bit")
    {
      graft_quantize_4bit(
        type.kind, $0[0], element, count, Int64(blockSize), $1, $2, $0.elements(1, UInt8.self),
        $0.elements(2, Float.self))
    }
    let scales = absmax.to(device: x.device)
    self.init(
      bytes: bytes.to(device: x.device),
      scales: doubleQuantization ? .quantizing(scales, blockSize: 256) : .plain(scales),
      blockSize: blockSize, type: type, shape: x.shape, dtype: x.dtype)
  }

  /// The numbers, each code's number times its block's magnitude in float32, rounded once.
  ///
  /// - Parameter wanted: float32, float16 or bfloat16; nil for the type that was quantised.
  /// - Returns: A new tensor of `shape`.
  public func dequantized(_ wanted: DType? = nil) -> Tensor {
    guard bytes.device.kind == .cpu else { return decodedByOperators(wanted ?? dtype) }
    let element = floatType(of: wanted ?? dtype, in: "dequantized")
    let source = bytes.contiguous()
    let absmax = scales.values.contiguous()
    let blocks = blockCount(count, blockSize)
    let result = Tensor.empty(shape, dtype: wanted ?? dtype)
    let (kind, count, blockSize) = (type.kind, Int64(count), blockSize)
    forEachBlockRange(
      blocks, blockSize: blockSize, [source, absmax, result], name: "dequantize_4bit"
    ) {
      graft_dequantize_4bit(
        kind, $0.elements(0, UInt8.self), $0.elements(1, Float.self), count, Int64(blockSize), $1,
        $2, element, $0[2])
    }
    return result
  }

  /// A matrix on the processor in whole numbers of 8 bits, each row over the largest magnitude of its
  /// blocks, to which it is rounded.
  ///
  /// - Returns: New codes of the same shape.
  func rowCodes() -> RowCodes {
    precondition(
      shape.count == 2 && bytes.device.kind == .cpu, "rowCodes: \(shape) on \(bytes.device)")
    let columns = shape[1]
    // Where blocks run across rows, by way of the numbers.
    guard columns > 0, columns % blockSize == 0 else {
      return RowCodes(quantizing: dequantized(.float32))
    }
    let (source, absmax) = (bytes.contiguous(), scales.values.contiguous())
    let codes = Tensor.empty(shape, dtype: .int8)
    let largest = Tensor.empty([shape[0]], dtype: .float32)
    let (kind, blockSize) = (type.kind, Int64(blockSize))
    forEachBlockRange(shape[0], blockSize: columns, [source, absmax, codes, largest]) {
      graft_recode_4bit_rows(
        kind, $0.elements(0, UInt8.self), $0.elements(1, Float.self), Int64(columns), blockSize,
        $1, $2, $0.elements(2, Int8.self), $0.elements(3, Float.self))
    }
    return RowCodes(codes: codes, scales: largest, dtype: dtype)
  }

  /// Bytes that codes and scales take.
  public var byteCount: Int { bytes.byteCount + scales.byteCount }
}
