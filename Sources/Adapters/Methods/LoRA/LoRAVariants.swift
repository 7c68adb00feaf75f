import JSONValues
import Layers
import Tensors

/// Settings of KaSA: W lacks its smallest singular components, and the update is s B diag(d) A.
///
/// d is trained from a normal start. The two penalties of the paper are added to the loss in training.
/// PEFT writes over W; here W stays, as with the starts that are taken from it.
///
/// Source: Wang et al. 2024, arXiv 2412.06071.
public struct KaSAConfig: Equatable, Sendable {
  /// Factor of the squared length of d.
  public var beta = 1e-4
  /// Factor of ||B^T B - I|| + ||A A^T - I||.
  public var gamma = 1e-3

  /// Makes PEFT's defaults.
  public init() {}

  static var fields: [ConfigurationField<Self>] {
    [.number("beta", \.beta), .number("gamma", \.gamma)]
  }
}

/// Settings of block-diagonal LoRA: A or B has blocks along its diagonal and is zero elsewhere.
///
/// A is stored as `[rank, inputSize / blocks]`, B as `[outputSize, rank / blocks]`: their blocks one
/// below the other.
///
/// Source: Wang et al. 2025, arXiv 2510.23346.
public struct BDLoRAConfig: Equatable, Sendable {
  /// Layers whose A is block-diagonal: those whose path contains one of these.
  public var blockDiagonalA: [String] = []
  /// Layers whose B is block-diagonal, likewise.
  public var blockDiagonalB: [String] = []
  /// Blocks of a matrix.
  public var blocks = 1
  /// Whether every layer must be one of those.
  public var isStrict = true

  /// Makes PEFT's defaults.
  public init() {}

  static var fields: [ConfigurationField<Self>] {
    [
      .strings("target_modules_bd_a", \.blockDiagonalA),
      .strings("target_modules_bd_b", \.blockDiagonalB), .integer("nblocks", \.blocks),
      .flag("match_strict", \.isStrict),
    ]
  }
}

extension LoRAConfig {
  /// Names of the fields that change how a layer computes, of which PEFT allows one.
  var variants: [String] {
    [
      (usesDoRA, "use_dora"), (invocationTokens != nil, "alora_invocation_tokens"),
      (bdLoRA != nil, "use_bdlora"), (kasa != nil, "kasa_config"),
      (arrow != nil, "arrow_config"), (veLoRA != nil, "velora_config"),
      (monteCLoRA != nil, "monteclora_config"),
      (initialization == .mica, "init_lora_weights mica"),
    ].filter(\.0).map(\.1)
  }

  /// Factors with KaSA's diagonal and what the base is to lack, or with one of them in blocks.
  func varied(
    _ plain: LoRAFactors, _ site: LayerSite, rank: Int
  ) throws(AdapterError) -> LoRAFactors {
    var factors = plain
    if kasa != nil {
      let smaller = min(site.inputSize, site.outputSize)
      guard rank < smaller else {
        throw misfit(
          site, field: "rank (r)",
          expected: "below \(smaller), the smaller side of the weight, with kasa_config",
          actual: "\(rank)")
      }
      factors.diagonal = site.normal([rank])
      let (u, s, vt) = site.weightOnCPU().singularValueDecomposition()
      let range = smaller - rank..<smaller
      factors.start = (
        site.parameter(vt.narrowed(0, range)),
        site.parameter(u.narrowed(1, range) * s.narrowed(0, range) / factors.scale)
      )
    }
    guard let bdLoRA else { return factors }
    let isA = bdLoRA.blockDiagonalA.contains { site.path.contains($0) }
    let isB = bdLoRA.blockDiagonalB.contains { site.path.contains($0) }
    guard isA || isB else {
      guard !bdLoRA.isStrict else {
        throw misfit(
          site, field: "use_bdlora",
          expected: "a name in target_modules_bd_a or target_modules_bd_b, or match_strict false",
          actual: "none that fits")
      }
      return factors
    }
    let blocks = bdLoRA.blocks
    let (width, name) = isA ? (site.inputSize, "input size") : (site.outputSize, "output size")
    guard !(isA && isB), rank.isMultiple(of: blocks), width.isMultiple(of: blocks) else {
      throw misfit(
        site, field: "use_bdlora",
        expected: "\(blocks) blocks that divide rank and \(name), of one of A and B",
        actual: isA && isB ? "both" : "rank \(rank), \(name) \(width)")
    }
    let random = initialization == .random
    var made = LoRAFactors(
      a: isA
        ? site.uniform(
          [rank, width / blocks], bound: (6 * Double(blocks) / Double(width)).squareRoot())
        : plain.a,
      b: isB
        ? random
          ? site.linearUniform([width, rank / blocks]) : site.zeros([width, rank / blocks])
        : plain.b, scale: plain.scale, dropout: plain.dropout)
    made.blocks = (blocks, ofA: isA)
    made.bias = plain.bias
    return made
  }

  /// The adapters, and what variants add to the loss.
  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    var made: [any LayerAdapter] = []
    for site in sites { made.append(try adapter(for: site)) }
    return LayerAdapters(layers: made, training: training(of: made))
  }

  /// What variants add to the loss of some adapters; nil for nothing.
  func training(of adapters: [any LayerAdapter]) -> (any AdapterTraining)? {
    let updates = adapters.compactMap(\.lowRankUpdate)
    if let kasa { return KaSAPenalty(kasa, updates.map { $0.factors }) }
    guard monteCLoRA != nil else { return nil }
    return MonteCLoRATraining(updates.compactMap { ($0 as? MonteCLoRAAdapter)?.distribution })
  }
}

/// KaSA's penalties over all layers.
private final class KaSAPenalty: AdapterTraining {
  private let config: KaSAConfig
  private let layers: [LoRAFactors]

  init(_ config: KaSAConfig, _ layers: [LoRAFactors]) {
    (self.config, self.layers) = (config, layers)
  }

  func penalty() -> Tensor? {
    let all = layers.compactMap { factors -> Tensor? in
      guard let d = factors.diagonal?.value else { return nil }
      let (a, b) = (factors.a.value, factors.b.value)
      let identity = Tensor.identity(d.count, dtype: d.dtype, device: d.device)
      let distance =
        (b.transposed().matrixProduct(b) - identity).norm()
        + (a.matrixProduct(a.transposed()) - identity).norm()
      return (d * d).sum() * config.beta + distance * config.gamma
    }
    return all.dropFirst().reduce(all.first) { sum, next in sum.map { $0 + next } }
  }
  var state: [(name: String, tensor: Tensor)] { [] }
  func restore(_ state: [String: Tensor]) {}
}

extension Tensor {
  /// A matrix with blocks along its diagonal, from the blocks one below the other.
  ///
  /// - Parameter blocks: How many, a divisor of the rows.
  /// - Returns: `[n, blocks * m]` for `[n, m]`, zero outside the blocks.
  func blockDiagonal(_ blocks: Int) -> Tensor {
    let (rows, columns) = (size(0), size(1))
    let isInside = withoutGradients {
      Tensor.identity(blocks, dtype: dtype, device: device)
        .repeatedInterleaved(rows / blocks, dimension: 0)
        .repeatedInterleaved(columns, dimension: 1)
    }
    return tiled([1, blocks]) * isInside
  }
}
