import CKernels
public import Tensors

/// A matrix in whole numbers of 8 bits, each row over its own largest magnitude.
///
/// codes = x (127 / scale) rounded to nearest, ties to even. With a threshold, elements of at least
/// that magnitude are outliers: they count for no scale, and every column that has one is left out,
/// its codes 0. What is left out is for a product in full precision.
///
/// - Note: Source: Dettmers et al. 2022, arXiv 2208.07339, with the inclusive test of bitsandbytes.
public struct RowCodes {
  /// The whole numbers, int8 `[rows, columns]`, from -127 to 127.
  public let codes: Tensor
  /// The largest magnitude of each row, float32 `[rows]`.
  public let scales: Tensor
  /// Columns that are left out, ascending, int64; empty without a threshold.
  public let outlierColumns: Tensor
  /// Type of the matrix that was quantised.
  public let dtype: DType

  /// Puts together what was stored.
  ///
  /// - Parameters:
  ///   - codes: int8 `[rows, columns]`.
  ///   - scales: float32 `[rows]`.
  ///   - outlierColumns: Columns that are left out, int64; nil for none.
  ///   - dtype: Type that ``dequantized(_:)`` returns.
  public init(codes: Tensor, scales: Tensor, outlierColumns: Tensor? = nil, dtype: DType) {
    precondition(
      codes.dtype == .int8 && codes.rank == 2 && scales.shape == [codes.size(0)],
      "RowCodes: codes \(codes.dtype)\(codes.shape), scales \(scales.shape)")
    self.codes = codes
    self.scales = scales
    self.outlierColumns = outlierColumns ?? Tensor.empty([0], dtype: .int64)
    self.dtype = dtype
  }

  /// Quantises the rows of a matrix.
  ///
  /// - Parameters:
  ///   - x: float32, float16 or bfloat16 `[rows, columns]`.
  ///   - threshold: Magnitude from which an element is an outlier; 0 for none.
  public init(quantizing x: Tensor, threshold: Double = 0) {
    precondition(x.rank == 2, "RowCodes: a tensor of shape \(x.shape) is no matrix")
    let source = x.detached().to(device: .cpu).contiguous()
    let type = floatType(of: source.dtype, in: "RowCodes")
    let (rows, columns) = (source.size(0), source.size(1))
    let codes = Tensor.empty([rows, columns], dtype: .int8)
    let scales = Tensor.empty([rows], dtype: .float32)
    let marks = Tensor.zeros([max(columns, 1)], dtype: .uint8)
    if columns > 0 {
      forEachBlockRange(rows, blockSize: columns, [source, codes, scales, marks]) {
        graft_quantize_rows(
          $0[0], type, Int64(columns), Float(threshold), $1, $2, $0.elements(1, Int8.self),
          $0.elements(2, Float.self), $0.elements(3, UInt8.self))
      }
    } else {
      scales.fillInPlace(0)
    }
    let outliers =
      threshold > 0
      ? (marks .!= 0).nonzeroIndices().reshaped([-1]) : Tensor.empty([0], dtype: .int64)
    for column in outliers.array(of: Int.self) {
      codes.narrowed(1, column..<column + 1).fillInPlace(0)
    }
    self.init(
      codes: codes.to(device: x.device), scales: scales.to(device: x.device),
      outlierColumns: outliers.to(device: x.device), dtype: x.dtype)
  }

  /// The numbers, code times scale / 127 in float32, rounded once; 0 in columns left out.
  ///
  /// - Parameter wanted: float32, float16 or bfloat16; nil for the type that was quantised.
  /// - Returns: `[rows, columns]`.
  public func dequantized(_ wanted: DType? = nil) -> Tensor {
    let type = floatType(of: wanted ?? dtype, in: "dequantized")
    let (source, scale) = (
      codes.to(device: .cpu).contiguous(), scales.to(device: .cpu).contiguous()
    )
    let result = Tensor.empty(source.shape, dtype: wanted ?? dtype)
    let columns = source.size(1)
    if columns > 0 {
      forEachBlockRange(source.size(0), blockSize: columns, [source, scale, result]) {
        graft_dequantize_rows(
          $0.elements(0, Int8.self), $0.elements(1, Float.self), Int64(columns), $1, $2, type,
          $0[2])
      }
    }
    return result.to(device: codes.device)
  }

  /// Bytes that codes and scales take.
  public var byteCount: Int { codes.byteCount + scales.byteCount }
}
