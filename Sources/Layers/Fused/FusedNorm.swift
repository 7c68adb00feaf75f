import CKernels
import Tensors

/// A frozen root-mean-square norm over rows in float32 on the processor, as functions that record
/// nothing.
///
/// It keeps one number for each row, with which the normalised rows are computed again.
struct FusedNorm {
  // N rows, D size.
  private let weight: Tensor
  private let epsilon: Double

  /// Nil where the norm is of another kind, is trained, or is not in float32 on the processor.
  init?(_ norm: any Normalization) {
    guard let norm = norm as? RMSNorm, !norm.weight.isTrainable,
      case let own = norm.weight.value, own.dtype == .float32, own.device.kind == .cpu
    else { return nil }
    weight = norm.weighting == .wideOffset ? own + 1.0 : own.contiguous()
    epsilon = norm.epsilon
  }

  /// Rows `[N, D]` normalised, and 1 / sqrt(mean(x^2) + epsilon) of each.
  func callAsFunction(_ rows: Tensor) -> (normalized: Tensor, scale: Tensor) {
    let result = Tensor.empty(rows.shape, dtype: .float32)
    let scale = Tensor.empty([rows.size(0)], dtype: .float32)
    let (size, epsilon) = (Int64(rows.size(1)), Float(epsilon))
    forEachBlockRange(
      rows.size(0), blockSize: rows.size(1), [rows, weight, result, scale], name: "rms_norm"
    ) {
      graft_rms_norm(
        $0.elements(0, Float.self), $0.elements(1, Float.self), epsilon, size, $1, $2,
        $0.elements(2, Float.self), $0.elements(3, Float.self))
    }
    return (result, scale)
  }

  /// The normalised rows again.
  func again(_ rows: Tensor, scale: Tensor) -> RowSource {
    let (count, size) = (rows.size(0), rows.size(1))
    return RowSource(count: count, columns: size, [rows, weight, scale], name: "rms_norm_again") {
      graft_rms_norm_again(
        $0.elements(0, Float.self) + $1 * size, $0.elements(1, Float.self),
        $0.elements(2, Float.self) + $1, Int64(size), 0, Int64($2 - $1), $3)
    }
  }

  /// The rows' gradient from that of the normalised ones, which is written over, and from what goes past
  /// the norm.
  func pulledBack(
    _ gradient: Tensor, rows: Tensor, scale: Tensor, adding past: Tensor? = nil
  ) -> Tensor {
    let (size, adds) = (Int64(rows.size(1)), past != nil)
    forEachBlockRange(
      rows.size(0), blockSize: rows.size(1),
      [rows, weight, scale, gradient] + (past.map { [$0] } ?? []), name: "rms_norm_backward"
    ) {
      graft_rms_norm_backward(
        $0.elements(0, Float.self), $0.elements(1, Float.self), $0.elements(2, Float.self),
        $0.elements(3, Float.self), adds ? $0.elements(4, Float.self) : nil, size, $1, $2,
        $0.elements(3, Float.self))
    }
    return gradient
  }
}
