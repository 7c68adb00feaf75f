import Layers
import Tensors

/// Rows that stand for some rows of a table.
final class TokenRows {
  let rows: Parameter  // [k, size]
  /// The indices as int64 `[k]`.
  let places: Tensor
  /// For each row of the table the number of the row that stands for it, or -1; int64.
  private let slots: Tensor

  /// - Parameters:
  ///   - indices: Rows that are replaced, each once.
  ///   - rows: The new ones, `[k, size]`.
  ///   - count: Rows of the table.
  init(_ indices: [Int], rows: Parameter, of count: Int) {
    self.rows = rows
    var slots = [Int](repeating: -1, count: count)
    for (slot, index) in indices.enumerated() { slots[index] = slot }
    let device = rows.value.device
    self.slots = Tensor(slots, shape: [count]).to(device: device)
    places = Tensor(indices, shape: [indices.count]).to(device: device)
  }

  /// Rows `[..., size]` that were looked up by ids `[...]`, with the new ones in place.
  func replacing(_ y: Tensor, _ ids: Tensor) -> Tensor {
    let slot = slots.selecting(0, ids.reshaped([-1])).reshaped(ids.shape)
    let isNew = slot .>= 0
    let found = rows.value.embedding(slot.maximum(slot.zerosLike())).to(y.dtype)
    return Tensor.choosing(isNew.unsqueezed(-1), found, y)
  }

  /// A whole table with the new rows in place.
  func replacing(inTable table: Tensor) -> Tensor {
    table.replacing(0, at: places, rows.value.to(table.dtype))
  }
}

/// Trained rows of an embedding.
final class TokenEmbeddingAdapter: EmbeddingAdapter {
  let rows: TokenRows

  init(_ rows: TokenRows) { self.rows = rows }

  var parameters: [AdapterParameter] {
    [AdapterParameter("trainable_tokens_delta", rows.rows)]
  }

  func output(_ y: Tensor, ids: Tensor, _ context: AdapterContext) -> Tensor {
    rows.replacing(y, ids)
  }

  func merge(into table: inout Tensor) { table = rows.replacing(inTable: table).detached() }
}

/// Trained rows of a linear layer's weight, such as an output head's: they replace its outputs.
final class TokenHeadAdapter: LayerAdapter {
  let rows: TokenRows
  /// Whether they are an embedding's, so that they are stored there.
  let isTied: Bool

  init(_ rows: TokenRows, isTied: Bool) {
    self.rows = rows
    self.isTied = isTied
  }

  var parameters: [AdapterParameter] {
    isTied ? [] : [AdapterParameter("trainable_tokens_delta", rows.rows)]
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let weight = rows.rows.value
    let bias = base.bias.map { $0.value.selecting(0, rows.places).to(weight.dtype) }
    return y.replacing(
      -1, at: rows.places, x.to(weight.dtype).linear(weight, bias: bias).to(y.dtype))
  }

  func merge(into layer: inout MergedLayer) {
    layer.weight = rows.replacing(inTable: layer.weight).detached()
  }
}

/// Several adapters of one name on one layer, in this order.
final class StackedAdapter: LayerAdapter {
  let parts: [any LayerAdapter]

  init(_ parts: [any LayerAdapter]) { self.parts = parts }

  var parameters: [AdapterParameter] { parts.flatMap(\.parameters) }

  var shared: [AdapterParameter] { parts.flatMap(\.shared) }

  func didLoad() throws(AdapterError) {
    for part in parts { try part.didLoad() }
  }

  func obstacle(toMergingInto base: any LinearProjection) -> String? {
    parts.lazy.compactMap { $0.obstacle(toMergingInto: base) }.first
  }

  func input(_ x: Tensor, _ context: AdapterContext) -> Tensor {
    parts.reduce(x) { $1.input($0, context) }
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    parts.reduce(y) { $1.output($0, input: x, base: base, context) }
  }

  func merge(into layer: inout MergedLayer) {
    for part in parts { part.merge(into: &layer) }
  }
}
