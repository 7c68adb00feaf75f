public import Tensors

/// What an embedding looks rows up in: a dense table or a quantised one.
public protocol EmbeddingTable: Module {
  /// Rows of the table.
  var count: Int { get }
  /// Numbers of a row.
  var size: Int { get }
  /// Where the table lives.
  var device: Device { get }
  /// Type of the rows that are looked up.
  var dtype: DType { get }

  /// Looks rows up.
  ///
  /// - Parameter ids: int64 row numbers of any shape.
  /// - Returns: Their shape and `size`.
  func callAsFunction(_ ids: Tensor) -> Tensor

  /// The whole table as numbers.
  ///
  /// - Returns: `[count, size]`; may alias the stored table, so it must not be changed.
  func denseWeight() -> Tensor
}

/// An embedding table that is stored as it is.
public final class DenseTable: EmbeddingTable {
  /// The table, `[count, size]`.
  public var weight: Parameter

  /// Makes a table.
  ///
  /// - Parameter weight: `[count, size]`; may be shared with an output head.
  public init(weight: Parameter) { self.weight = weight }

  /// Rows of the table.
  public var count: Int { weight.value.size(0) }
  /// Numbers of a row.
  public var size: Int { weight.value.size(1) }
  /// Where the table lives.
  public var device: Device { weight.value.device }
  /// Type of the table.
  public var dtype: DType { weight.value.dtype }

  /// Looks rows up.
  ///
  /// - Parameter ids: int64 row numbers of any shape.
  /// - Returns: Their shape and `size`.
  public func callAsFunction(_ ids: Tensor) -> Tensor { weight.value.embedding(ids) }

  /// The stored table.
  ///
  /// - Returns: `[count, size]`, not a copy.
  public func denseWeight() -> Tensor { weight.value }

  /// `weight`.
  ///
  /// - Parameter transform: Gets the parameter's name.
  public func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    weight = transform("weight", weight)
  }
}

/// A row of numbers for each token: a place in the model whose table can be exchanged.
public final class Embedding: Module {
  /// What rows are looked up in.
  public var table: any EmbeddingTable

  /// Makes a layer.
  ///
  /// - Parameter table: What rows are looked up in.
  public init(_ table: any EmbeddingTable) { self.table = table }

  /// Makes a layer over a dense table.
  ///
  /// - Parameter weight: The table, `[count, size]`; may be shared with an output head.
  public convenience init(weight: Parameter) { self.init(DenseTable(weight: weight)) }

  /// Where the table lives.
  public var device: Device { table.device }

  /// Looks rows up.
  ///
  /// - Parameter ids: int64 row numbers of any shape.
  /// - Returns: Their shape and the table's `size`.
  public func callAsFunction(_ ids: Tensor) -> Tensor { table(ids) }

  /// The table's parts: what an adapter adds, or none.
  public var children: [(name: String, module: any Module)] { table.children }

  /// What the table holds besides parameters.
  public var storedTensors: [(name: String, tensor: Tensor)] { table.storedTensors }

  /// How many numbers those tensors stand for.
  public var storedCount: Int { table.storedCount }

  /// What the table computes with besides parameters.
  public var heldTensors: [Tensor] { table.heldTensors }

  /// The table's parameters.
  ///
  /// - Parameter transform: Gets each parameter's name.
  public func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    table.mapParameters(transform)
  }
}
