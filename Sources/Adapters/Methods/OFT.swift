import JSONValues
import Layers
import Tensors

/// Configuration of orthogonal fine-tuning: blocks of inputs are rotated before the layer, W becomes
/// W R^T with a block-diagonal R.
///
/// Each block's R is the Cayley transform of a skew-symmetric Q whose upper triangle is trained. As
/// in PEFT, the series of `usesSeries` approximates (I + Q) (I - Q)^-1, while without it R is
/// (I - Q) (I + Q)^-1: the same numbers turn the other way.
///
/// A block size or number of blocks that does not divide a layer's inputs is replaced by the divisor
/// next to it, the smaller one of two equally near; one that is at least their number, by it;
/// ``PeftModel/warnings`` say so. Unlike
/// in PEFT 0.21.2, where it has no effect on linear layers, `blockDropout` works.
///
/// On a convolution the inputs of a patch are rotated. PEFT merges that, but its forward pass adds
/// overlapping patches up, so that even a fresh adapter changes a layer whose kernel has more than one
/// element; here merging and the layer agree.
///
/// Source: Qiu et al. 2023, arXiv 2306.07280; the series: Qiu et al. 2025, arXiv 2506.19847.
/// Defaults are those of PEFT 0.21.2.
public struct OFTConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "OFT"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Number of blocks of a layer, PEFT's `r`; 0 for as many as `blockSize` gives.
  public var blockCount = 0
  /// Inputs in a block; 0 for as many as `blockCount` gives.
  public var blockSize = 32
  /// Share of blocks that are not rotated in a step of training, rounded down to whole blocks.
  public var blockDropout = 0.0
  /// Constrained OFT: the norm of each Q is kept below eps / sqrt(number of stored blocks), by
  /// shortening the trained numbers whenever the layer runs.
  public var isConstrained = false
  /// How far constrained rotations may go.
  public var eps = 6e-5
  /// Whether all blocks of a layer have the same rotation.
  public var sharesBlocks = false
  /// Whether rotations are computed by a series, without solving equations.
  public var usesSeries = true
  /// Terms of the series, at least 2.
  public var seriesTerms = 5
  /// Whether Q starts as zero, which changes nothing, instead of normal numbers.
  public var hasStandardInitialization = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - blockSize: Inputs in a block.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(blockSize: Int, targetModules: TargetModules? = nil) {
    self.blockSize = blockSize
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.blockCount), .integer("oft_block_size", \.blockSize),
      .number("module_dropout", \.blockDropout), .flag("coft", \.isConstrained),
      .number("eps", \.eps), .flag("block_share", \.sharesBlocks),
      .flag("use_cayley_neumann", \.usesSeries),
      .integer("num_cayley_neumann_terms", \.seriesTerms),
      .flag("init_weights", \.hasStandardInitialization), .targetModules, .excludeModules,
      .layersToTransform, .layersPattern, .bias, .modulesToSave, .fanInFanOut,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try require("r", blockCount >= 0, "a number of blocks, or 0", blockCount)
    try require("oft_block_size", blockSize >= 0, "a number of inputs, or 0", blockSize)
    try require(
      "r and oft_block_size", (blockCount == 0) != (blockSize == 0), "one of them, the other 0",
      "\(blockCount) and \(blockSize)")
    try require(
      "module_dropout", (0..<1).contains(blockDropout), "at least 0 and below 1", blockDropout)
    try require("eps", eps > 0 && eps.isFinite, "a positive number", eps)
    try require(
      "num_cayley_neumann_terms", !usesSeries || seriesTerms > 1,
      "at least 2, as with fewer nothing is trained", seriesTerms)
  }
}

extension OFTConfig: KernelMatrixMethod, EmbeddingMethod {
  static var kernelDimensions: ClosedRange<Int> { 2...2 }

  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    var made: [any LayerAdapter] = []
    for site in sites { made.append(try rotations(of: site.inputSize, at: site.path, site)) }
    return LayerAdapters(
      layers: made, warnings: warnings(sites.map { ($0.path, $0.inputSize) }))
  }

  /// Rotates blocks of the rows that a table gives.
  func adapter(for site: EmbeddingSite) throws(AdapterError) -> any EmbeddingAdapter {
    EmbeddingOFT(try rotations(of: site.base.size, at: site.path, site))
  }

  func warnings(for site: EmbeddingSite) -> [String] { warnings([(site.path, site.base.size)]) }

  /// The field that says how inputs are divided, what it says, and what it is taken for.
  private func division(_ inputs: Int) -> (field: String, wanted: Int, taken: Int) {
    let (field, wanted) = blockSize > 0 ? ("oft_block_size", blockSize) : ("r", blockCount)
    return (field, wanted, Self.divisor(of: inputs, near: wanted))
  }

  /// One for each number of inputs that what is wanted does not divide.
  private func warnings(_ places: [(path: String, inputs: Int)]) -> [String] {
    let bySize = Dictionary(grouping: places, by: \.inputs).sorted { $0.key < $1.key }
    return bySize.compactMap { inputs, places in
      let (field, wanted, taken) = division(inputs)
      guard wanted != taken else { return nil }
      let more = places.count > 1 ? " and \(places.count - 1) more" : ""
      return "\(field) \(wanted) does not divide the \(inputs) inputs of \(places[0].path)\(more); "
        + "it is \(taken) there"
    }
  }

  private func rotations(
    of inputs: Int, at path: String, _ source: some ParameterSource
  ) throws(AdapterError) -> OFTAdapter {
    let (field, _, taken) = division(inputs)
    let size = blockSize > 0 ? taken : inputs / taken
    guard size > 1 else {
      throw .configuration(
        field: "\(field) for \(path)", expected: "blocks of at least two of its \(inputs) inputs",
        actual: "blocks of one")
    }
    let shape = [sharesBlocks ? 1 : inputs / size, UpperTriangles.count(size)]
    return OFTAdapter(
      hasStandardInitialization ? source.zeros(shape) : source.normal(shape, deviation: 0.1),
      UpperTriangles(size: size, device: source.device), self)
  }

  private static func divisor(of count: Int, near wanted: Int) -> Int {
    guard wanted < count else { return count }
    var (lower, upper) = (wanted, wanted)
    while count % lower != 0 { lower -= 1 }
    while count % upper != 0 { upper += 1 }
    return wanted - lower <= upper - wanted ? lower : upper
  }
}

/// Rotations of the rows of a table.
final class EmbeddingOFT: EmbeddingAdapter {
  private let inner: OFTAdapter

  init(_ inner: OFTAdapter) { self.inner = inner }

  var parameters: [AdapterParameter] {
    [AdapterParameter("oft_embedding_R.weight", inner.upper)]
  }

  func output(_ y: Tensor, ids: Tensor, _ context: AdapterContext) -> Tensor {
    inner.input(y, context)
  }

  func merge(into table: inout Tensor) {
    table = withoutGradients { inner.rotated(table, without: nil) }
  }
}

/// Rotations of blocks of one layer's inputs.
final class OFTAdapter: LayerAdapter {
  let upper: Parameter  // [blocks, size (size - 1) / 2]
  let triangles: UpperTriangles
  let transform: CayleyTransform
  let bound: Double?
  let dropout: Double

  init(_ upper: Parameter, _ triangles: UpperTriangles, _ config: OFTConfig) {
    self.upper = upper
    self.triangles = triangles
    transform = config.usesSeries ? .series(terms: config.seriesTerms) : .transposed
    bound =
      config.isConstrained ? config.eps / Double(upper.value.size(0)).squareRoot() : nil
    dropout = config.blockDropout
  }

  var parameters: [AdapterParameter] { [AdapterParameter("oft_R.weight", upper)] }

  func input(_ x: Tensor, _ context: AdapterContext) -> Tensor { rotated(x, without: context) }

  /// Rows with their blocks rotated, but for those that a context drops.
  func rotated(_ x: Tensor, without context: AdapterContext?) -> Tensor {
    constrain()
    let type = DType.computing(x.dtype, upper.value.dtype)
    let all = transform(triangles.skewSymmetric(upper.value.to(type)))
    let rotations = context.map { $0.withoutSome(all, dropout) } ?? all
    return x.to(type).rotatingBlocks(rotations).to(x.dtype)
  }

  func merge(into layer: inout MergedLayer) {
    layer.weight = withoutGradients {
      constrain()
      let upper = upper.value.to(layer.weight.dtype)
      let rotations = transform(triangles.skewSymmetric(upper))
      return layer.weight.rotatingBlocks(rotations.transposed())
    }
  }

  /// Shortens every Q that is longer than the bound.
  private func constrain() {
    guard let bound else { return }
    withoutGradients {
      let values = upper.value
      // Each number stands in Q twice.
      let lengths = (values * values).sum([1], keepDimensions: true).squareRoot() * 2.0.squareRoot()
      // A little room, so that what was shortened once is not rounded again.
      let shortened = values * (lengths.clamped(lower: bound).reciprocal() * bound)
      values.copyInPlace(from: .choosing(lengths .> bound * (1 + 1e-5), shortened, values))
    }
  }
}
