import Layers
import Tensors

/// A low-rank update of an embedding: row i of the table gets s B a_i with a_i column i of A.
///
/// With a magnitude m `[size]`, columns of the table are scaled by m / n, as rows of W are in a
/// linear layer, with n the norms of the updated table's columns.
///
/// Dropout drops a token's whole update, as the input is a token's one-hot row; PEFT ignores
/// `lora_dropout` here.
final class EmbeddingLoRA: EmbeddingAdapter {
  let a: Parameter  // [rank, count]
  let b: Parameter  // [size, rank]
  private let magnitude: Parameter?  // [size]
  private let base: any EmbeddingTable
  let scale: Double
  private let dropout: Double
  private let trainsB: Bool

  init(
    _ config: LoRAConfig, a: Parameter, b: Parameter, scale: Double, base: any EmbeddingTable,
    isLoading: Bool
  ) {
    (self.a, self.b, self.scale, self.base) = (a, b, scale, base)
    dropout = config.dropout
    trainsB = config.initialization != .mica
    magnitude =
      !config.usesDoRA
      ? nil
      : Parameter(
        isLoading
          ? .empty([base.size], dtype: a.value.dtype, device: .meta)
          : Self.columnNorms(base, a: a, b: b, scale: scale))
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("lora_embedding_A", a),
      AdapterParameter("lora_embedding_B", b, isTrained: trainsB),
    ] + (magnitude.map { [AdapterParameter("lora_magnitude_vector", $0)] } ?? [])
  }

  func output(_ y: Tensor, ids: Tensor, _ context: AdapterContext) -> Tensor {
    var narrow = a.value.selecting(1, ids.reshaped([-1])).transposed()  // [N, rank]
    if context.isTraining && dropout > 0 {
      let kept = Tensor.ones([narrow.size(0), 1], dtype: narrow.dtype, device: narrow.device)
      narrow = narrow * context.dropped(kept, dropout)
    }
    let update = narrow.linear(b.value).reshaped(ids.shape + [b.value.size(0)]) * scale
    guard let factors = columnFactors() else { return y.adding(wide: update) }
    return ((y.to(update.dtype) + update) * factors).to(y.dtype)
  }

  func merge(into table: inout Tensor) {
    withoutGradients {
      table.addInPlace(
        a.value.transposed().matrixProduct(b.value.transposed()).to(table.dtype), scale: scale)
      if let factors = columnFactors() { table.multiplyInPlace(factors.to(table.dtype)) }
    }
  }

  /// The tensors of a LoRA of twice the rank that does the same, by their names in files.
  var plain: [(name: String, tensor: Tensor)] {
    [(a, 0, "lora_embedding_A"), (b, 1, "lora_embedding_B")].map { parameter, dimension, name in
      let value = parameter.value.detached()
      return (name, Tensor.concatenated([value, value.zerosLike()], dimension: dimension))
    }
  }

  private func columnFactors() -> Tensor? {
    magnitude.map {
      $0.value / Self.columnNorms(base, a: a, b: b, scale: scale).clamped(lower: 1e-30)
    }
  }

  private static func columnNorms(
    _ base: any EmbeddingTable, a: Parameter, b: Parameter, scale: Double
  ) -> Tensor {
    withoutGradients {
      base.denseWeight().detached().to(a.value.dtype)
        .addingMatrixProduct(a.value.transposed(), b.value.transposed(), scale: scale).norm([0])
    }
  }
}

extension LoRAConfig: EmbeddingMethod {
  /// A zero and B normal whatever the start, but for "false" and "mica", as in PEFT.
  func adapter(for site: EmbeddingSite) throws(AdapterError) -> any EmbeddingAdapter {
    try require("lora_bias for \(site.path)", !usesBias, "false for an embedding", true)
    let variant = variants.first { $0 != "use_dora" && !$0.hasSuffix("mica") }
    try require("\(variant ?? "") for \(site.path)", variant == nil, "none for an embedding", "set")
    let rank = try rankPattern.value(for: site.path, default: rank)
    let scale = try scale(ofLayer: site.path, rank: rank)
    let (aShape, bShape) = ([rank, site.base.count], [site.base.size, rank])
    let (a, b): (Parameter, Parameter)
    switch initialization {
    case .random: (a, b) = (site.normal(aShape), site.normal(bShape))
    case .mica where !site.isLoading:
      let smaller = min(site.base.count, site.base.size)
      try require(
        "rank (r) for \(site.path)", rank <= smaller,
        "at most \(smaller), the smaller side of the table, for init_lora_weights \"mica\"", rank)
      let vt = site.base.denseWeight().detached().to(.computing(site.dtype)).to(device: .cpu)
        .singularValueDecomposition().vt
      (a, b) = (
        site.zeros(aShape), site.parameter(vt.narrowed(0, smaller - rank..<smaller).transposed())
      )
    default: (a, b) = (site.zeros(aShape), site.normal(bShape))
    }
    return EmbeddingLoRA(
      self, a: a, b: b, scale: scale, base: site.base,
      isLoading: site.isLoading)
  }
}
