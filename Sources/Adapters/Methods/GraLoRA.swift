import JSONValues
import Layers
import Tensors

/// Configuration of granular low-rank adaptation: D consists of k x k blocks, each a product of rank
/// r / k of its own, and with a hybrid rank of a LoRA of that rank as well.
///
/// Block (j, n) is scale B[j] A[n] over the ranks that both give each other: row j's n-th and column
/// n's j-th r / k of them. The scale is alpha / (r + hybrid rank).
///
/// Source: Jung et al. 2025, arXiv 2505.20355. Defaults are those of PEFT 0.21.2.
public struct GraloraConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "GRALORA"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// r, the rank of a row or a column of blocks together, a multiple of the block count.
  public var rank = 32
  /// Rank of the LoRA beside the blocks; 0 for none.
  public var hybridRank = 0
  /// Numerator of the scale alpha / (rank + hybrid rank).
  public var alpha = 64.0
  /// k, a divisor of a layer's inputSize and outputSize.
  public var blockCount = 2
  /// Share of inputs that are dropped in training, for the blocks and the LoRA each.
  public var dropout = 0.0
  /// Whether a fresh adapter changes nothing: B is zero; else it is random too.
  public var startsAtIdentity = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .integer("hybrid_r", \.hybridRank), .wholeNumber("alpha", \.alpha),
      .integer("gralora_k", \.blockCount), .number("gralora_dropout", \.dropout),
      .flag("init_weights", \.startsAtIdentity), .fanInFanOut, .targetModules,
      .layersToTransform, .layersPattern, .bias, .modulesToSave,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("rank (r)", rank)
    try requirePositive("gralora_k", blockCount)
    try require("hybrid_r", hybridRank >= 0, "at least 0", hybridRank)
    try require(
      "rank (r)", rank.isMultiple(of: blockCount), "a multiple of gralora_k = \(blockCount)", rank)
    try requireFinite("alpha", alpha)
    try requireShare("gralora_dropout", dropout)
  }
}

extension GraloraConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let (inputs, outputs, k) = (site.inputSize, site.outputSize, blockCount)
    guard inputs.isMultiple(of: k), outputs.isMultiple(of: k) else {
      throw misfit(
        site, field: "gralora_k", expected: "a divisor of \(inputs) and \(outputs)", actual: "\(k)")
    }
    func left(_ shape: [Int], _ columns: Int) -> Parameter {
      startsAtIdentity
        ? site.zeros(shape) : site.uniform(shape, bound: 1 / Double(columns).squareRoot())
    }
    let scale = alpha / Double(rank + hybridRank)
    let general =
      hybridRank == 0
      ? nil
      : LoRAAdapter(
        a: site.linearUniform([hybridRank, inputs]), b: left([outputs, hybridRank], hybridRank),
        scale: scale, dropout: dropout)
    return GraloraAdapter(
      a: site.uniform([k, inputs / k, rank], bound: 1 / Double(inputs / k).squareRoot()),
      b: left([k, rank, outputs / k], rank), general: general, scale: scale, dropout: dropout)
  }
}

final class GraloraAdapter: LayerAdapter {
  let a, b: Parameter  // [k, in / k, rank], [k, rank, out / k]
  let general: LoRAAdapter?
  let scale, dropout: Double

  init(a: Parameter, b: Parameter, general: LoRAAdapter?, scale: Double, dropout: Double) {
    (self.a, self.b) = (a, b)
    self.general = general
    (self.scale, self.dropout) = (scale, dropout)
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("gralora_A", a), AdapterParameter("gralora_B", b)]
      + (general.map { lora in
        [
          AdapterParameter("gralora_A_general.weight", lora.factors.a),
          AdapterParameter("gralora_B_general.weight", lora.factors.b),
        ]
      } ?? [])
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let (a, b) = (a.value, b.value)
    let (k, width, rank) = (a.size(0), a.size(1), a.size(2))
    let blocks = context.dropped(x, dropout).to(a.dtype).reshaped([-1, k, width])  // [N, k, in / k]
    let narrow = blocks.transposed(0, 1).matrixProduct(a)  // [k, N, rank]
    // Each column of blocks hands its ranks out to the rows.
    let exchanged = narrow.reshaped([k, -1, k, rank / k]).permuted([2, 1, 0, 3])
      .reshaped([k, -1, rank])
    let update = exchanged.matrixProduct(b).transposed(0, 1).reshaped(y.shape)
    let sum = y.adding(wide: update * scale)
    return general?.output(sum, input: x, base: base, context) ?? sum
  }

  func merge(into layer: inout MergedLayer) {
    let (a, b) = (a.value.detached(), b.value.detached())
    let (k, width, rank) = (a.size(0), a.size(1), a.size(2))
    // Of row j and column n: [j, n, rank / k, in / k] and [j, n, out / k, rank / k]
    let columns = a.reshaped([k, width, k, rank / k]).permuted([2, 0, 3, 1])
    let rows = b.reshaped([k, k, rank / k, b.size(2)]).transposed()
    let product = rows.matrixProduct(columns).permuted([0, 2, 1, 3])
    layer.weight.addInPlace(product.reshaped(layer.weight.shape), scale: scale)
    general?.merge(into: &layer)
  }
}
