public import Layers
public import Tensors

/// Sizes of a decoder that differ from those of the one whose architecture it has; nil for the same.
public struct MirrorSizes: Equatable, Sendable {
  /// Number of blocks.
  public var layerCount: Int
  /// Width of the residual stream.
  public var hiddenSize: Int?
  /// Width inside the MLP.
  public var intermediateSize: Int?
  /// Query heads; there are as many key/value heads as in the original.
  public var headCount: Int?

  /// Makes a description.
  ///
  /// - Parameters:
  ///   - layerCount: Number of blocks.
  ///   - hiddenSize: Width of the residual stream.
  ///   - intermediateSize: Width inside the MLP.
  ///   - headCount: Query heads.
  public init(
    layerCount: Int, hiddenSize: Int? = nil, intermediateSize: Int? = nil, headCount: Int? = nil
  ) {
    self.layerCount = layerCount
    self.hiddenSize = hiddenSize
    self.intermediateSize = intermediateSize
    self.headCount = headCount
  }
}

/// What a new weight starts with.
public enum WeightStart: Equatable, Sendable {
  /// Normal numbers of this standard deviation.
  case normal(Double)
  /// Zeros.
  case zeros
  /// Ones.
  case ones
}

extension DecoderConfiguration {
  /// The same architecture in other sizes, as transformers makes it of a changed configuration.
  ///
  /// Heads keep their size, except where the architecture always divides the hidden size by their
  /// number. Windows of blocks that are not in the original are those of its last one.
  ///
  /// - Parameter sizes: What differs.
  /// - Returns: The configuration; heads that do not share out evenly are not refused.
  public func mirrored(_ sizes: MirrorSizes) -> DecoderConfiguration {
    var result = self
    result.hiddenSize = sizes.hiddenSize ?? hiddenSize
    result.intermediateSize = sizes.intermediateSize ?? intermediateSize
    result.headCount = sizes.headCount ?? headCount
    if derivesHeadSize { result.setHeadSize(result.hiddenSize / result.headCount) }
    result.takeLayers((0..<sizes.layerCount).map { min($0, layerCount - 1) })
    return result
  }

  /// Takes another size of heads, with what follows from it.
  private mutating func setHeadSize(_ size: Int) {
    let (before, usual) = (headSize, 1 / Double(headSize).squareRoot())
    headSize = size
    attentionScales = attentionScales.map { $0 == usual ? 1 / Double(size).squareRoot() : $0 }
    ropes = ropes.map { rope in
      var rope = rope
      rope?.rotatedSize *= size
      rope?.rotatedSize /= before
      return rope
    }
  }

  /// A new norm of the residual stream or of heads, which changes nothing but the scale.
  fileprivate func norm(
    _ size: Int, _ make: (_ shape: [Int], _ start: WeightStart) -> Parameter
  ) -> any Normalization {
    switch normalization {
    case .layer:
      LayerNorm(weight: make([size], .ones), bias: make([size], .zeros), epsilon: normEpsilon)
    case .rootMeanSquare(.wideOffset):
      RMSNorm(weight: make([size], .zeros), epsilon: normEpsilon, weighting: .wideOffset)
    case .rootMeanSquare(let weighting):
      RMSNorm(weight: make([size], .ones), epsilon: normEpsilon, weighting: weighting)
    }
  }
}

extension DecoderModel {
  /// A decoder of this one's architecture with new weights.
  ///
  /// - Parameters:
  ///   - sizes: What differs.
  ///   - sharesEmbeddings: Whether it looks tokens up in this decoder's table, which then is not among
  ///     its modules; needs the same hidden size.
  ///   - dtype: Type that it computes in; that of the weights that `make` makes.
  ///   - make: Makes a weight of a shape.
  /// - Returns: A decoder that shares nothing else with this one.
  public func mirror(
    _ sizes: MirrorSizes, sharesEmbeddings: Bool, dtype: DType,
    make: @escaping (_ shape: [Int], _ start: WeightStart) -> Parameter
  ) -> DecoderModel {
    let c = configuration.mirrored(sizes)
    precondition(
      !sharesEmbeddings || c.hiddenSize == configuration.hiddenSize,
      "mirror: embeddings of \(configuration.hiddenSize) for a hidden size of \(c.hiddenSize)")
    let weight = WeightStart.normal(c.initializerRange)
    let assembly = DecoderAssembly<Never>(
      configuration: c,
      linear: { _, shape, hasBias in
        Linear(
          DenseProjection(
            weight: make(shape, weight), bias: hasBias ? make([shape[0]], .zeros) : nil),
          isTransposedInFiles: c.storesTransposed)
      },
      norm: { _, size in c.norm(size, make) })
    let layers = (0..<c.layerCount).map { assembly.layer("layers.\($0).") }
    let positions = c.names.positions.map { _ in
      Embedding(weight: make([c.maximumLength, c.hiddenSize], weight))
    }
    let table: any EmbeddingTable =
      sharesEmbeddings
      ? BorrowedTable(embedding, dtype: dtype)
      : DenseTable(weight: embeddings([c.vocabularySize, c.hiddenSize], weight, make))
    return DecoderModel(
      configuration: c, embedding: Embedding(table), positions: positions, layers: layers,
      norm: c.norm(c.hiddenSize, make))
  }

  /// New embeddings, of which that of padding is zero.
  private func embeddings(
    _ shape: [Int], _ start: WeightStart, _ make: ([Int], WeightStart) -> Parameter
  ) -> Parameter {
    let made = make(shape, start)
    if let id = configuration.paddingID, made.value.device.kind != .meta {
      withoutGradients { _ = made.value.narrowed(0, id..<id + 1).fillInPlace(0) }
    }
    return made
  }
}

/// Another model's embeddings, in a type of its own; its parameters stay the other's.
private final class BorrowedTable: EmbeddingTable {
  private let owner: Embedding
  let dtype: DType

  init(_ owner: Embedding, dtype: DType) {
    self.owner = owner
    self.dtype = dtype
  }

  var count: Int { owner.table.count }
  var size: Int { owner.table.size }
  var device: Device { owner.device }

  func callAsFunction(_ ids: Tensor) -> Tensor { owner(ids).to(dtype) }

  func denseWeight() -> Tensor { owner.table.denseWeight().to(dtype) }
}
