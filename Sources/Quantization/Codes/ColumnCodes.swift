import CKernels
public import Tensors

/// A matrix in whole numbers of 8 bits, each column over its own largest magnitude.
///
/// As ``RowCodes`` with rows and columns exchanged: codes = x (127 (1 / scale of the column)), ties to
/// even; elements of at least the threshold count for no scale and have code 0.
///
/// - Note: Source: Dettmers et al. 2022, arXiv 2208.07339; bitsandbytes' `int8_double_quant` makes
///   these codes together with those of the rows, on graphics processors only.
public struct ColumnCodes {
  /// The whole numbers, int8 `[rows, columns]`, from -127 to 127.
  public let codes: Tensor
  /// The largest magnitude of each column, float32 `[columns]`.
  public let scales: Tensor
  /// Columns that hold an outlier, ascending, int64; the outliers' codes are 0.
  public let outlierColumns: Tensor
  /// Type of the matrix that was quantised.
  public let dtype: DType

  /// Quantises the columns of a matrix.
  ///
  /// - Parameters:
  ///   - x: float32, float16 or bfloat16 `[rows, columns]`.
  ///   - threshold: Magnitude from which an element is an outlier; 0 for none.
  public init(quantizing x: Tensor, threshold: Double = 0) {
    precondition(x.rank == 2, "ColumnCodes: a tensor of shape \(x.shape) is no matrix")
    let source = x.detached().to(device: .cpu).contiguous()
    let type = floatType(of: source.dtype, in: "ColumnCodes")
    let (rows, columns) = (source.size(0), source.size(1))
    let codes = Tensor.empty([rows, columns], dtype: .int8)
    let scales = Tensor.zeros([columns], dtype: .float32)
    if rows > 0, columns > 0 {
      forEachBlockRange(columns, blockSize: rows, [source, scales], name: "column_scales") {
        graft_column_scales(
          $0[0], type, Int64(rows), Int64(columns), Float(threshold), $1, $2,
          $0.elements(1, Float.self))
      }
      forEachBlockRange(
        rows, blockSize: columns, [source, scales, codes], name: "quantize_columns"
      ) {
        graft_quantize_columns(
          $0[0], type, Int64(columns), Float(threshold), $0.elements(1, Float.self), $1, $2,
          $0.elements(2, Int8.self))
      }
    }
    let outliers =
      threshold > 0 && rows > 0
      ? ((source.to(.float32).absolute() .>= threshold).to(.float32).sum([0]) .> 0)
        .nonzeroIndices().reshaped([-1]) : Tensor.empty([0], dtype: .int64)
    self.codes = codes.to(device: x.device)
    self.scales = scales.to(device: x.device)
    outlierColumns = outliers.to(device: x.device)
    dtype = x.dtype
  }

  /// The numbers, code times scale / 127 in float32, rounded once; 0 for outliers.
  ///
  /// - Parameter wanted: A floating-point type; nil for the type that was quantised.
  /// - Returns: `[rows, columns]`.
  public func dequantized(_ wanted: DType? = nil) -> Tensor {
    (codes.to(.float32) * scales * Double(Float(1) / 127)).to(wanted ?? dtype)
  }

  /// Bytes that codes and scales take.
  public var byteCount: Int { codes.byteCount + scales.byteCount }
}
