import JSONValues
import Layers
import Tensors

/// Configuration of sparse high-rank adapters: D has rank * (inputSize + outputSize) numbers, as many
/// as a LoRA of that rank, at random places.
///
/// Source: Bhardwaj et al. 2024, arXiv 2406.13175. Defaults are those of PEFT 0.21.2.
public struct ShiraConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "SHIRA"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// How many numbers a layer gets, in units of inputSize + outputSize.
  public var rank = 32
  /// How the places are chosen: "random"; another name stands for a mask that was made elsewhere, so
  /// that such an adapter can only be opened.
  public var maskType = "random"
  /// Seed of the places; nil for LibTorch's default, which every layer starts from as well.
  public var randomSeed: Int?
  /// Whether a fresh adapter changes nothing; else its numbers are normal.
  public var startsAtIdentity = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .string("mask_type", \.maskType),
      .integer("random_seed", \.randomSeed), .flag("init_weights", \.startsAtIdentity),
      .fanInFanOut, .targetModules, .modulesToSave,
    ]
  }

  /// As for LoRA, but Phi's attention only.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.shira[modelType]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("rank (r)", rank)
    try require("random_seed", randomSeed ?? 0 >= 0, "at least 0", randomSeed ?? 0)
  }
}

extension ShiraConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    guard maskType == "random" || site.isLoading else {
      throw .configuration(field: "mask_type", expected: "random", actual: maskType)
    }
    let (inputs, outputs) = (site.inputSize, site.outputSize)
    let (count, room) = (rank * (inputs + outputs), inputs * outputs)
    guard count <= room else {
      throw misfit(
        site, field: "r", expected: "at most \(room / (inputs + outputs))", actual: "\(rank)")
    }
    let seed = randomSeed.map(UInt64.init) ?? torchDefaultSeed
    let places = site.randomPlaces(count, seed: seed).sorted().values.array(of: Int.self)
    let indices = Tensor(
      places.map { Int32($0 / inputs) } + places.map { Int32($0 % inputs) }, shape: [2, count])
    return ShiraAdapter(
      values: startsAtIdentity ? site.zeros([count]) : site.normal([count]),
      indices: Parameter(indices.to(device: site.device)), shape: [outputs, inputs])
  }
}

/// What a generator of LibTorch starts from when it gets no seed.
private let torchDefaultSeed: UInt64 = 67_280_421_310_721

final class ShiraAdapter: DeltaAdapter {
  let values: Parameter  // [count]
  let indices: Parameter  // int32 [2, count]: rows, columns
  let shape: [Int]

  init(values: Parameter, indices: Parameter, shape: [Int]) {
    self.values = values
    self.indices = indices
    self.shape = shape
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("shira_weight", values),
      AdapterParameter("shira_indices", indices, isTrained: false),
    ]
  }

  func delta() -> Tensor {
    let places = indices.value.to(.int64)
    let columns = Tensor.full([1], Double(shape[1]), dtype: .int64, device: places.device)
    let flat = places.selected(0, 0) * columns + places.selected(0, 1)
    return sparseMatrix(values.value, at: flat, shape: shape)
  }

  func didLoad() throws(AdapterError) {
    let places = indices.value.to(.int64)
    for (dimension, size) in shape.enumerated() {
      let own = places.selected(0, dimension)
      if let wrong = outlier(own, below: size) {
        throw .configuration(
          field: "shira_indices", expected: "0 ..< \(size)", actual: "\(wrong)")
      }
    }
  }
}

/// A number that is no index below a size; nil when all are.
func outlier(_ indices: Tensor, below size: Int) -> Int? {
  guard indices.count > 0 else { return nil }
  let ends = [indices.min(), indices.max()].map { Int($0.to(.int64).item()) }
  return ends.first { !(0..<size).contains($0) }
}
