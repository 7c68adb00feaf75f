import CKernels
public import Tensors

/// A matrix in whole numbers of 8 bits, each row over its own largest magnitude.
///
/// codes = x (127 (1 / scale)) rounded to nearest, ties to even. With a threshold, elements of at least
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
  /// The numbers of those columns, float32 `[rows, outlierColumns.count]`; nil where there are none
  /// or they are not known.
  public let outliers: Tensor?
  /// Type of the matrix that was quantised.
  public let dtype: DType
  /// What a product needs of each row besides, int32 `[rows]`; nil where it is computed when it is needed.
  let sums: Tensor?

  /// Puts together what was stored.
  ///
  /// - Parameters:
  ///   - codes: int8 `[rows, columns]`.
  ///   - scales: float32 `[rows]`.
  ///   - outlierColumns: Columns that are left out, int64; nil for none.
  ///   - outliers: Their numbers, float32.
  ///   - dtype: Type that ``dequantized(_:)`` returns.
  public init(
    codes: Tensor, scales: Tensor, outlierColumns: Tensor? = nil, outliers: Tensor? = nil,
    dtype: DType
  ) {
    self.init(
      codes: codes, scales: scales, outlierColumns: outlierColumns, outliers: outliers,
      dtype: dtype, sums: nil)
  }

  /// Takes what a pass over the rows made.
  init(_ rows: CodedRows) {
    self.init(codes: rows.codes, scales: rows.scales, dtype: .float32, sums: rows.sums)
  }

  /// Takes rows that were rounded but for some columns.
  init(_ input: CodedInput) {
    self.init(
      codes: input.rows.codes, scales: input.rows.scales, outlierColumns: input.outliers?.columns,
      outliers: input.outliers?.numbers, dtype: .float32, sums: input.rows.sums)
  }

  private init(
    codes: Tensor, scales: Tensor, outlierColumns: Tensor? = nil, outliers: Tensor? = nil,
    dtype: DType, sums: Tensor?
  ) {
    precondition(
      codes.dtype == .int8 && codes.rank == 2 && scales.shape == [codes.size(0)],
      "RowCodes: codes \(codes.dtype)\(codes.shape), scales \(scales.shape)")
    self.codes = codes
    self.scales = scales
    self.outlierColumns = outlierColumns ?? Tensor.empty([0], dtype: .int64, device: codes.device)
    self.outliers = outliers
    self.dtype = dtype
    self.sums = sums
  }

  /// Quantises the rows of a matrix.
  ///
  /// - Parameters:
  ///   - x: float32, float16 or bfloat16 `[rows, columns]`.
  ///   - threshold: Magnitude from which an element is an outlier; 0 for none.
  public init(quantizing x: Tensor, threshold: Double = 0) {
    self.init(quantizing: x, threshold: threshold, needsSums: false)
  }

  /// The same of x with each column times a factor, float32 `[columns]`, where there are factors.
  ///
  /// `needsSums` says that products will read the codes, several perhaps.
  init(
    quantizing x: Tensor, threshold: Double = 0, columnFactors: Tensor? = nil, needsSums: Bool
  ) {
    precondition(x.rank == 2, "RowCodes: a tensor of shape \(x.shape) is no matrix")
    let source = x.detached().to(device: .cpu).contiguous()
    let type = floatType(of: source.dtype, in: "RowCodes")
    let (rows, columns) = (source.size(0), source.size(1))
    let codes = Tensor.empty([rows, columns], dtype: .int8)
    let scales = Tensor.empty([rows], dtype: .float32)
    guard columns > 0 else {
      self.init(codes: codes, scales: scales.fillInPlace(0), dtype: x.dtype)
      return
    }
    let marks = Tensor([UInt8](repeating: 0, count: columns))
    let factors = columnFactors.map { [$0.contiguous()] } ?? []
    let isScaled = columnFactors != nil
    forEachBlockRange(
      rows, blockSize: columns, [source, codes, scales, marks] + factors, name: "quantize_rows"
    ) {
      graft_quantize_rows(
        $0[0], type, isScaled ? $0.elements(4, Float.self) : nil, Int64(columns), Float(threshold),
        $1, $2, $0.elements(1, Int8.self), $0.elements(2, Float.self), $0.elements(3, UInt8.self))
    }
    let outliers = threshold > 0 ? marks.array(of: UInt8.self).indices(of: 1) : []
    var taken: Tensor?
    let places = outliers.isEmpty ? nil : Tensor(outliers)
    if let places {
      let numbers = Tensor.empty([rows, outliers.count], dtype: .float32)
      let (columns, count) = (Int64(columns), Int64(outliers.count))
      forEachBlockRange(
        rows, blockSize: 16 * outliers.count, [source, places, codes, numbers],
        name: "take_columns"
      ) {
        graft_take_columns(
          $0[0], type, columns, $0.elements(1, Int64.self), count, $1, $2,
          $0.elements(2, Int8.self), $0.elements(3, Float.self))
      }
      taken = numbers.to(device: x.device)
    }
    // Of what is left of the codes.
    let sums = needsSums && x.device.kind == .cpu ? CodedRows.sums(of: codes) : nil
    self.init(
      codes: codes.to(device: x.device), scales: scales.to(device: x.device),
      outlierColumns: places?.to(device: x.device), outliers: taken, dtype: x.dtype, sums: sums)
  }

  /// Quantises a weight.
  ///
  /// It is rounded to float16 first, as bitsandbytes does, so that the codes are the same, unless
  /// that would make a number infinite.
  ///
  /// - Parameter weight: `[rows, columns]` of a floating-point type.
  public init(quantizingWeight weight: Tensor) {
    let dense = weight.detached()
    let half = dense.to(.float16)
    let made = RowCodes(quantizing: half.isAllFinite ? half : dense.to(.float32))
    self.init(codes: made.codes, scales: made.scales, dtype: quantizableType(weight.dtype))
  }

  /// Quantises the rows of a matrix with random rounding.
  ///
  /// A number between two codes gets the upper one with the probability of its distance from the
  /// lower one, so that the mean over many draws is the number itself.
  ///
  /// - Parameters:
  ///   - x: float32 `[rows, columns]` on the processor.
  ///   - seed: Decides the draws.
  public init(roundingStochastically x: Tensor, seed: UInt64) {
    precondition(
      x.rank == 2 && x.dtype == .float32 && x.device.kind == .cpu,
      "RowCodes: \(x.dtype)\(x.shape) on \(x.device)")
    let source = x.detached().contiguous()
    let codes = Tensor.empty(x.shape, dtype: .int8)
    let scales = Tensor.empty([x.size(0)], dtype: .float32)
    let columns = x.size(1)
    guard columns > 0 else {
      self.init(codes: codes, scales: scales.fillInPlace(0), dtype: .float32)
      return
    }
    forEachBlockRange(
      x.size(0), blockSize: columns, [source, codes, scales], name: "quantize_rows_stochastic"
    ) {
      graft_quantize_rows_stochastic(
        $0.elements(0, Float.self), Int64(columns), seed, $1, $2, $0.elements(1, Int8.self),
        $0.elements(2, Float.self))
    }
    self.init(codes: codes, scales: scales, dtype: .float32)
  }

  /// The numbers, code times scale / 127 in float32, rounded once; 0 in columns left out.
  ///
  /// - Parameter wanted: float32, float16 or bfloat16; nil for the type that was quantised.
  /// - Returns: `[rows, columns]`.
  public func dequantized(_ wanted: DType? = nil) -> Tensor {
    guard codes.device.kind == .cpu else { return decodedByOperators(wanted ?? dtype) }
    let type = floatType(of: wanted ?? dtype, in: "dequantized")
    let (source, scale) = (codes.contiguous(), scales.contiguous())
    let result = Tensor.empty(source.shape, dtype: wanted ?? dtype)
    let columns = source.size(1)
    if columns > 0 {
      forEachBlockRange(
        source.size(0), blockSize: columns, [source, scale, result], name: "dequantize_rows"
      ) {
        graft_dequantize_rows(
          $0.elements(0, Int8.self), $0.elements(1, Float.self), Int64(columns), $1, $2, type,
          $0[2])
      }
    }
    return result
  }

  /// Bytes that codes and scales take.
  public var byteCount: Int { codes.byteCount + scales.byteCount }
}

extension [UInt8] {
  /// Places of a value, ascending.
  fileprivate func indices(of value: UInt8) -> [Int64] {
    guard contains(value) else { return [] }
    return enumerated().filter { $0.element == value }.map { Int64($0.offset) }
  }
}
