import JSONValues
import Layers
import Tensors

/// Configuration of matrix shard sharing: D[o, j] = block[j mod r, o], one matrix for all shards of r
/// inputs.
///
/// ``Variant/bat`` lets D depend on the weight: in each r x r block of W it is W B + B with B shared
/// along a row of blocks. ``Variant/mini`` shares columns too: D[o, j] = block[j mod r, o mod miniRank].
///
/// Several active adapters add up, each by its own variant and over the weight without the others. In
/// PEFT 0.21.2 a layer keeps the first adapter's variant for all of them, and adapters of "bat" are
/// put on top of each other in their order; its dropout does not act in "bat", here it does.
///
/// Source: Kang and Yin 2024, arXiv 2409.15371. Defaults are those of PEFT 0.21.2.
public struct MissConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "MISS"
  /// As in PEFT's files.
  public static let adaptedBiasName = "MiSS_only"

  /// What is shared, and how it starts.
  public enum Variant: Equatable, Sendable, CaseIterable {
    /// A block `[rank, outputSize]` of zeros.
    case standard
    /// Blocks `[outputSize / rank, rank, rank]` of zeros that multiply W.
    case bat
    /// A block `[rank, miniRank]` of zeros.
    case mini
    /// As `standard` but uniform, so that the output changes at once.
    case random
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Inputs of a shard, at most a layer's inputSize; of "bat" a divisor of both sizes.
  public var rank = 64
  /// Columns of a block of "mini", a divisor of outputSize.
  public var miniRank = 1
  /// Share of inputs that are dropped in training.
  public var dropout = 0.0
  /// What is shared, and how it starts.
  public var variant = Variant.standard

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .integer("mini_r", \.miniRank), .number("miss_dropout", \.dropout),
      .spelled(
        "init_weights", \.variant,
        [(.standard, true), (.random, false), (.bat, "bat"), (.mini, "mini")]),
      .targetModules, .excludeModules, .layersToTransform, .layersPattern, .bias, .modulesToSave,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("rank (r)", rank)
    try requirePositive("mini_r", miniRank)
    try requireShare("miss_dropout", dropout)
  }
}

extension MissConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let (inputs, outputs) = (site.inputSize, site.outputSize)
    guard rank <= inputs else {
      throw misfit(site, field: "r", expected: "at most \(inputs)", actual: "\(rank)")
    }
    switch variant {
    case .standard: return MissAdapter(site.zeros([rank, outputs]), dropout)
    case .random: return MissAdapter(site.linearUniform([rank, outputs]), dropout)
    case .mini:
      guard outputs.isMultiple(of: miniRank) else {
        throw misfit(
          site, field: "mini_r", expected: "a divisor of \(outputs)", actual: "\(miniRank)")
      }
      return MissAdapter(site.zeros([rank, miniRank]), dropout)
    case .bat:
      guard inputs.isMultiple(of: rank), outputs.isMultiple(of: rank) else {
        throw misfit(
          site, field: "r", expected: "a divisor of \(inputs) and \(outputs) for \"bat\"",
          actual: "\(rank)")
      }
      return MissBatAdapter(site.zeros([outputs / rank, rank, rank]), dropout, base: site.base)
    }
  }
}

/// Shards that share one matrix, which may be repeated along the outputs.
final class MissAdapter: LayerAdapter {
  let block: Parameter  // [rank, out] or [rank, a divisor of out]
  let dropout: Double

  init(_ block: Parameter, _ dropout: Double) {
    self.block = block
    self.dropout = dropout
  }

  var parameters: [AdapterParameter] { [AdapterParameter("miss_block", block)] }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let block = block.value
    let (rank, width) = (block.size(0), block.size(1))
    var rows = context.dropped(x, dropout).to(block.dtype).rows()  // [N, in]
    let missing = (rank - rows.size(1) % rank) % rank
    if missing > 0 {
      let zeros = Tensor.zeros([rows.size(0), missing], dtype: rows.dtype, device: rows.device)
      rows = .concatenated([rows, zeros], dimension: 1)
    }
    let summed = rows.reshaped([rows.size(0), -1, rank]).sum([1])  // [N, rank]
    let update = summed.matrixProduct(block).tiled([1, y.size(-1) / width])
    return y.adding(wide: update.reshaped(y.shape))
  }

  func merge(into layer: inout MergedLayer) {
    let (outputs, inputs) = (layer.weight.size(0), layer.weight.size(1))
    let block = block.value.detached()
    let shards = (inputs + block.size(0) - 1) / block.size(0)
    let delta = block.transposed().tiled([outputs / block.size(1), shards])
    layer.weight.addInPlace(delta.narrowed(1, 0..<inputs))
  }
}

/// Blocks that multiply those of the weight.
final class MissBatAdapter: DeltaAdapter {
  let block: Parameter  // [out / rank, rank, rank]
  let dropout: Double
  let base: any LinearProjection

  init(_ block: Parameter, _ dropout: Double, base: any LinearProjection) {
    self.block = block
    self.dropout = dropout
    self.base = base
  }

  var parameters: [AdapterParameter] { [AdapterParameter("miss_block", block)] }

  func delta() -> Tensor {
    let block = block.value
    let (count, rank) = (block.size(0), block.size(1))
    let weight = base.denseWeight().detached().to(block.dtype)
    let (outputs, inputs) = (weight.size(0), weight.size(1))
    // [count, in / rank, rank, rank]: the blocks of W.
    let blocks = weight.reshaped([count, rank, inputs / rank, rank]).permuted([0, 2, 1, 3])
    let products = blocks.matrixProduct(block.unsqueezed(1)) + block.unsqueezed(1)
    return products.permuted([0, 2, 1, 3]).reshaped([outputs, inputs])
  }
}
