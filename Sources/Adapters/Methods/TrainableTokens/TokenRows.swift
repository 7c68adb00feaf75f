import Layers
import Tensors

/// Rows that stand for some rows of a table.
final class TokenRows {
  let indices: [Int]
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
    self.indices = indices
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

/// An embedding table with trained rows, over any base.
final class TokenTable: EmbeddingTable {
  private(set) var base: any EmbeddingTable
  private let context: AdapterContext
  private(set) var adapters: [(name: String, rows: TokenRows)] = []
  /// The base before rows were merged into it, and whose.
  private(set) var merged: (original: any EmbeddingTable, names: [String])?

  init(base: any EmbeddingTable, context: AdapterContext) {
    self.base = base
    self.context = context
  }

  var count: Int { base.count }
  var size: Int { base.size }
  var device: Device { base.device }
  var storedTensors: [(name: String, tensor: Tensor)] { base.storedTensors }
  var storedCount: Int { base.storedCount }
  func denseWeight() -> Tensor { base.denseWeight() }

  func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    base.mapParameters(transform)
    for (name, rows) in adapters {
      _ = transform("trainable_tokens_delta.\(name)", rows.rows)
    }
  }

  /// The table before anything was merged into it.
  var original: any EmbeddingTable { merged?.original ?? base }

  func callAsFunction(_ ids: Tensor) -> Tensor {
    guard context.isEnabled else { return original(ids) }
    // Rows with adapters of their own have none that trains tokens.
    guard context.rowAdapters == nil else { return base(ids) }
    var y = base(ids)
    for name in context.active where merged?.names.contains(name) != true {
      if let rows = rows(of: name) { y = rows.replacing(y, ids) }
    }
    return y
  }

  func rows(of name: String) -> TokenRows? { adapters.first { $0.name == name }?.rows }

  func add(_ name: String, _ rows: TokenRows) { adapters.append((name, rows)) }

  func remove(_ name: String) { adapters.removeAll { $0.name == name } }

  func rename(_ name: String, to other: String) {
    for index in adapters.indices where adapters[index].name == name {
      adapters[index].name = other
    }
  }

  /// The table with rows of some adapters in it; nil where they have none that are not in it.
  func mergedTable(_ names: [String]) -> (table: DenseTable, names: [String])? {
    let own = names.filter { rows(of: $0) != nil && merged?.names.contains($0) != true }
    guard !own.isEmpty else { return nil }
    return withoutGradients {
      let weight = own.reduce(base.denseWeight().detached()) { weight, name in
        rows(of: name)?.replacing(inTable: weight) ?? weight
      }
      return (DenseTable(weight: Parameter(weight.detached())), own)
    }
  }

  /// Lets a merged table stand for some adapters.
  func merge(_ names: [String], as table: DenseTable) {
    merged = (merged?.original ?? base, (merged?.names ?? []) + names)
    base = table
  }

  /// Puts the base back as it was, bit for bit.
  func unmerge() {
    guard let merged else { return }
    base = merged.original
    self.merged = nil
  }
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
