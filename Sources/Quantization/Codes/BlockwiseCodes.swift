import CKernels
public import Tensors

/// A tensor in codes of 8 bits, a block of neighbours at a time over their largest magnitude.
///
/// Blocks run over the elements in row-major order; the last one may be short. An element x of a block
/// with largest magnitude m gets the code whose number is nearest to x (1/m), computed in float32; one
/// exactly between two numbers gets the lower code. Zero stays zero.
///
/// A block with NaN becomes NaN throughout; in a block with infinities these stay and the others
/// become NaN.
///
/// - Note: Source: Dettmers et al. 2022, arXiv 2110.02861. The results are what bitsandbytes 0.50.2
///   defines, not what it computes on a processor, where a coarse table misses the smallest codes.
public struct BlockwiseCodes {
  /// The codes, uint8, of the tensor's shape.
  public let codes: Tensor
  /// The largest magnitude of each block.
  public let scales: BlockScales
  /// Elements of a block.
  public let blockSize: Int
  /// The numbers that codes mean.
  public let map: CodeMap
  /// Type of the tensor that was quantised.
  public let dtype: DType

  /// Puts together what was stored.
  ///
  /// - Parameters:
  ///   - codes: uint8, of the tensor's shape.
  ///   - scales: The largest magnitude of each block.
  ///   - blockSize: Elements of a block.
  ///   - map: The numbers that codes mean.
  ///   - dtype: Type that ``dequantized(_:)`` returns.
  /// - Precondition: Codes are uint8, and there is a scale for each block.
  public init(codes: Tensor, scales: BlockScales, blockSize: Int, map: CodeMap, dtype: DType) {
    precondition(codes.dtype == .uint8, "BlockwiseCodes: codes of type \(codes.dtype)")
    scales.requireCount(of: codes.count, blockSize: blockSize, in: "BlockwiseCodes")
    self.codes = codes
    self.scales = scales
    self.blockSize = blockSize
    self.map = map
    self.dtype = dtype
  }

  /// Quantises a tensor.
  ///
  /// - Parameters:
  ///   - x: float32, float16 or bfloat16 of any shape.
  ///   - map: The numbers that codes mean.
  ///   - blockSize: Elements of a block, positive.
  ///   - nested: Whether the magnitudes are quantised too, in blocks of the same size.
  /// - Complexity: Linear; on the processor split over LibTorch's threads.
  public init(
    quantizing x: Tensor, map: CodeMap = .dynamic, blockSize: Int = 4096, nested: Bool = false
  ) {
    precondition(blockSize > 0, "BlockwiseCodes: a block of \(blockSize) elements")
    let source = x.detached().to(device: .cpu).contiguous()
    let type = floatType(of: source.dtype, in: "BlockwiseCodes")
    let blocks = blockCount(source.count, blockSize)
    let codes = Tensor.empty(source.shape, dtype: .uint8)
    let absmax = Tensor.empty([blocks], dtype: .float32)
    let count = Int64(source.count)
    forEachBlockRange(
      blocks, blockSize: blockSize, [source, codes, absmax], name: "quantize_blockwise"
    ) {
      graft_quantize_blockwise(
        map.search, $0[0], type, count, Int64(blockSize), $1, $2, $0.elements(1, UInt8.self),
        $0.elements(2, Float.self))
    }
    let scales = absmax.to(device: x.device)
    self.init(
      codes: codes.to(device: x.device),
      scales: nested ? .quantizing(scales, blockSize: blockSize) : .plain(scales),
      blockSize: blockSize, map: map, dtype: x.dtype)
  }

  /// The numbers, each code's number times its block's magnitude in float32, rounded once.
  ///
  /// - Parameter wanted: float32, float16 or bfloat16; nil for the type that was quantised.
  /// - Returns: A new tensor of the codes' shape.
  public func dequantized(_ wanted: DType? = nil) -> Tensor {
    guard codes.device.kind == .cpu else { return decodedByOperators(wanted ?? dtype) }
    let type = floatType(of: wanted ?? dtype, in: "dequantized")
    let source = codes.contiguous()
    let absmax = scales.values.contiguous()
    let blocks = blockCount(source.count, blockSize)
    let result = Tensor.empty(source.shape, dtype: wanted ?? dtype)
    let (map, count, blockSize) = (map, Int64(source.count), blockSize)
    forEachBlockRange(
      blocks, blockSize: blockSize, [source, absmax, result], name: "dequantize_blockwise"
    ) {
      graft_dequantize_blockwise(
        map.values, $0.elements(0, UInt8.self), $0.elements(1, Float.self), count,
        Int64(blockSize), $1, $2, type, $0[2])
    }
    return result
  }

  /// Bytes that codes and scales take.
  public var byteCount: Int { codes.byteCount + scales.byteCount }
}
