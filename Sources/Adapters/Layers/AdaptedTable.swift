import Layers
import Tensors

/// What one adapter does to one embedding.
protocol EmbeddingAdapter: PartAdapter {
  /// What the embedding returns instead of y.
  ///
  /// - Parameters:
  ///   - y: `[..., size]`.
  ///   - ids: int64 row numbers, `[...]`.
  ///   - context: Whether dropout is on, and its generator.
  /// - Returns: `[..., size]`, of y's type.
  func output(_ y: Tensor, ids: Tensor, _ context: AdapterContext) -> Tensor

  /// Does to a table what the adapter does to the embedding, without dropout.
  ///
  /// - Parameter table: `[count, size]`, float32 or wider; a copy that may be written to.
  func merge(into table: inout Tensor)
}

/// A method that can adapt embeddings.
protocol EmbeddingMethod: LayerMethod {
  /// Makes the adapter of one embedding.
  ///
  /// - Parameter site: The embedding.
  /// - Returns: The adapter, with its initial numbers.
  /// - Throws: ``AdapterError`` when the configuration does not fit it.
  func adapter(for site: EmbeddingSite) throws(AdapterError) -> any EmbeddingAdapter

  /// What settings were changed to, to fit an embedding, each in a sentence.
  func warnings(for site: EmbeddingSite) -> [String]
}

extension EmbeddingMethod {
  func warnings(for site: EmbeddingSite) -> [String] { [] }
}

/// A method that adapts a table `[count, size]` as the weight of a linear layer with `count` outputs.
///
/// Its layer adapters are ``TableRows``.
protocol TableMatrixMethod: LayerMethod {}

/// An adapter of a linear layer that can tell single rows of what it adds to the weight.
protocol TableRows: LayerAdapter {
  /// Rows of D, differentiable in the adapter's parameters.
  ///
  /// - Parameters:
  ///   - ids: int64 numbers of outputs, `[...]`.
  ///   - context: Whether dropout is on, and its generator.
  /// - Returns: `[..., inputSize]`.
  func rows(_ ids: Tensor, _ context: AdapterContext) -> Tensor
}

/// An adapter of a linear layer, on a table as its weight.
final class TableMatrixAdapter: EmbeddingAdapter, OutsideLinearLayer {
  private let rows: any TableRows

  init(_ rows: any TableRows) { self.rows = rows }

  var inner: any LayerAdapter { rows }

  func output(_ y: Tensor, ids: Tensor, _ context: AdapterContext) -> Tensor {
    y.adding(wide: rows.rows(ids, context))
  }

  func merge(into table: inout Tensor) {
    var layer = MergedLayer(weight: table)
    withoutGradients { inner.merge(into: &layer) }
    table = layer.weight
  }
}

/// An embedding that gets an adapter.
struct EmbeddingSite: InitialNumbers {
  /// The embedding's path in the model.
  let path: String
  /// What the adapter is added to.
  let base: any EmbeddingTable
  let generator: Generator
  var isLoading = false
  var wantedType: DType?

  var device: Device { base.device }
  var baseDType: DType { base.dtype }
}

/// An embedding table with adapters, over any base.
final class AdaptedTable: Adapted<any EmbeddingTable, any EmbeddingAdapter>, EmbeddingTable,
  AdaptedPart
{
  var count: Int { base.count }
  var size: Int { base.size }
  var device: Device { base.device }
  var dtype: DType { base.dtype }
  var children: [(name: String, module: any Module)] { [("base_layer", base)] }

  func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    mapAdapterParameters(transform)
  }

  func callAsFunction(_ ids: Tensor) -> Tensor {
    guard context.isEnabled, context.rowAdapters == nil else { return original(ids) }
    return acting.reduce(base(ids)) { y, adapter in adapter.output(y, ids: ids, context) }
  }

  func denseWeight() -> Tensor { base.denseWeight() }

  func obstacle(toMerging name: String) -> String? { nil }

  /// A quantised table becomes a dense one.
  func merging(_ names: [String], requantizing: Bool) -> MergedPart {
    withoutGradients {
      let dense = base.denseWeight().detached()
      var table = dense.to(.computing(dense.dtype)).cloned()
      for name in names { adapter(name)?.merge(into: &table) }
      let made = table.to(dense.dtype)
      return MergedPart(
        isFinite: made.isAllFinite,
        hold: { self.merge(names, as: DenseTable(weight: Parameter(made))) })
    }
  }
}

extension Embedding {
  /// The table below adapters, without those that are merged into it.
  var unadapted: any EmbeddingTable { (table as? AdaptedTable)?.original ?? table }

  /// The table with adapters, put in place where there is none.
  func adapted(in context: AdapterContext) -> AdaptedTable {
    if let own = table as? AdaptedTable { return own }
    let made = AdaptedTable(base: table, context: context)
    table = made
    return made
  }
}
