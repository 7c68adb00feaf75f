import Layers
import Tensors

/// y + s x A^T B^T where each row of a batch has an adapter of its own, or none.
///
/// One batched product for all rows: the factors of each row's adapter are gathered from a stack of
/// all of them, with ranks filled up by zeros.
///
/// - Parameters:
///   - y: `[rows, length, outputSize]`, fresh.
///   - x: `[rows, length, inputSize]`.
///   - adapters: The adapter of each row; nil for none.
/// - Returns: `[rows, length, outputSize]`, of y's type.
func addingRowwiseProduct(to y: Tensor, _ x: Tensor, adapters: [LoRAAdapter?]) -> Tensor {
  precondition(
    x.rank == 3 && x.size(0) == adapters.count,
    "adapters for \(adapters.count) rows, but the layer's input is \(x.shape)")
  var distinct: [LoRAAdapter] = []
  var places: [Int64] = []
  for adapter in adapters {
    guard let adapter else {
      places.append(-1)
      continue
    }
    if let found = distinct.firstIndex(where: { $0 === adapter }) {
      places.append(Int64(found))
    } else {
      places.append(Int64(distinct.count))
      distinct.append(adapter)
    }
  }
  let factors = distinct.map { adapter in
    let (a, b) = adapter.factors.whole()
    return (a: a.detached(), b: b.detached() * adapter.factors.scale)
  }
  guard let first = factors.first, let widest = factors.map({ $0.a.size(0) }).max() else {
    return y
  }
  let type = first.a.dtype
  /// The factor with its rank, the given dimension, filled up.
  func filled(_ factor: Tensor, _ dimension: Int) -> Tensor {
    let missing = widest - factor.size(dimension)
    guard missing > 0 else { return factor }
    var shape = factor.shape
    shape[dimension] = missing
    return .concatenated(
      [factor, .zeros(shape, dtype: factor.dtype, device: factor.device)], dimension: dimension)
  }
  // A last entry of zeros serves the rows without an adapter.
  let a = Tensor.stacked(
    factors.map { filled($0.a, 0) } + [filled(first.a, 0) * 0.0],
    dimension: 0)  // [adapters + 1, rank, in]
  let b = Tensor.stacked(
    factors.map { filled($0.b, 1) } + [filled(first.b, 1) * 0.0],
    dimension: 0)  // [adapters + 1, out, rank]
  let order = Tensor(places.map { $0 < 0 ? Int64(distinct.count) : $0 }).to(device: x.device)
  let narrow = x.to(type).matrixProduct(a.selecting(0, order).transposed())  // [rows, length, rank]
  return y.adding(wide: narrow.matrixProduct(b.selecting(0, order).transposed()))
}
