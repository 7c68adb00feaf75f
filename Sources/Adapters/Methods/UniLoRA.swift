import JSONValues
import Layers
import Tensors

/// Configuration of low-rank updates whose numbers all come from one vector: y = x W^T + x A^T B^T.
///
/// Each element of A `[rank, inputSize]` and B `[outputSize, rank]` of every layer is an element of one
/// trained vector theta, times 1 / sqrt(how many elements share it). Which one it is is drawn once, so that
/// each element of theta is used equally often but for one. A new adapter changes the outputs a little.
///
/// Defaults, initial numbers and files are those of PEFT 0.21.2, which draws the places by NumPy's PCG64.
public struct UniLoRAConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "UNILORA"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Rank of the update.
  public var rank = 4
  /// Elements of theta.
  public var vectorLength = 256
  /// Seed by which the places are drawn.
  public var projectionSeed = 42
  /// Whether files hold the places and their factors.
  public var savesIndices = false
  /// Share of inputs of A that are dropped in training.
  public var dropout = 0.0
  /// theta starts uniform in ± this.
  public var initialBound = 0.02
  /// Whether theta starts so; else standard normal.
  public var startsSmall = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Rank of the update, positive.
  ///   - vectorLength: Elements of theta, positive.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(rank: Int, vectorLength: Int = 256, targetModules: TargetModules? = nil) {
    (self.rank, self.vectorLength) = (rank, vectorLength)
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .integer("theta_d_length", \.vectorLength),
      .integer("proj_seed", \.projectionSeed), .flag("save_indices", \.savesIndices),
      .number("unilora_dropout", \.dropout), .number("init_theta_d_bound", \.initialBound),
      .flag("init_weights", \.startsSmall), .targetModules, .layersToTransform, .layersPattern,
      .bias, .modulesToSave, .fanInFanOut,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("r", rank)
    try requirePositive("theta_d_length", vectorLength)
    try require("proj_seed", projectionSeed >= 0, "not negative", projectionSeed)
    try requireShare("unilora_dropout", dropout)
    try require("init_theta_d_bound", initialBound > 0, "a positive number", initialBound)
  }
}

extension UniLoRAConfig: LayerMethod {
  /// The place in theta of each of `count` elements, each place equally often but for one.
  func places(_ count: Int) -> [Int] {
    var generator = PCG64(seed: projectionSeed)
    let often = count / vectorLength
    var places: [Int] = []
    places.reserveCapacity(count)
    for place in 0..<vectorLength { places += repeatElement(place, count: often) }
    places += generator.choose(count % vectorLength, below: vectorLength)
    generator.shuffle(&places)
    return places
  }

  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    guard let first = sites.first else { return LayerAdapters(layers: []) }
    let theta =
      startsSmall
      ? first.uniform([vectorLength], bound: initialBound) : first.normal([vectorLength])
    let count = sites.reduce(0) { $0 + rank * ($1.inputSize + $1.outputSize) }
    try require("r", count < Int(UInt32.max), "fewer than 2^32 numbers in all layers", count)
    guard !(first.isLoading && savesIndices) else {
      let layers = sites.map { site in
        func empty(_ shape: [Int]) -> Parameter {
          Parameter(.empty(shape, dtype: .int64, device: .meta))
        }
        let (a, b) = ([rank, site.inputSize], [site.outputSize, rank])
        return UniLoRAAdapter(
          theta: theta, places: (empty(a), empty(b)), scales: (site.zeros(a), site.zeros(b)),
          dropout: dropout, savesIndices: savesIndices)
      }
      return LayerAdapters(layers: layers, shared: [AdapterParameter("unilora_theta_d", theta)])
    }
    let all = places(count)
    var uses = [Float](repeating: 0, count: vectorLength)
    for place in all { uses[place] += 1 }
    let factors = uses.map { $0 > 0 ? 1 / $0.squareRoot() : 0 }
    var start = 0
    let layers = sites.map { site in
      func part(_ shape: [Int]) -> (Parameter, Parameter) {
        let own = Array(all[start..<start + shape[0] * shape[1]])
        start += own.count
        let scales = Tensor(own.map { factors[$0] }, shape: shape)
        return (
          Parameter(Tensor(own, shape: shape).to(device: site.device)),
          Parameter(scales.to(site.dtype).to(device: site.device))
        )
      }
      let (a, aScales) = part([rank, site.inputSize])
      let (b, bScales) = part([site.outputSize, rank])
      return UniLoRAAdapter(
        theta: theta, places: (a, b), scales: (aScales, bScales), dropout: dropout,
        savesIndices: savesIndices)
    }
    return LayerAdapters(layers: layers, shared: [AdapterParameter("unilora_theta_d", theta)])
  }
}

/// The places of one layer.
final class UniLoRAAdapter: FactoredAdapter {
  let theta: Parameter  // [vectorLength]
  let places: (a: Parameter, b: Parameter)  // int64 [rank, in], [out, rank]
  let scales: (a: Parameter, b: Parameter)
  let dropout: Double
  let savesIndices: Bool

  init(
    theta: Parameter, places: (Parameter, Parameter), scales: (Parameter, Parameter),
    dropout: Double, savesIndices: Bool
  ) {
    (self.theta, self.places, self.scales) = (theta, places, scales)
    (self.dropout, self.savesIndices) = (dropout, savesIndices)
  }

  var parameters: [AdapterParameter] {
    !savesIndices
      ? []
      : [
        ("unilora_indices_A", places.a), ("unilora_indices_B", places.b),
        ("unilora_scales_A", scales.a), ("unilora_scales_B", scales.b),
      ].map { AdapterParameter($0, $1, isTrained: false) }
  }

  var shared: [AdapterParameter] { [AdapterParameter("unilora_theta_d", theta)] }

  func didLoad() throws(AdapterError) {
    for (name, own) in [("unilora_indices_A", places.a), ("unilora_indices_B", places.b)]
    where own.value.min().item() < 0 || own.value.max().item() >= Double(theta.count) {
      throw .configuration(
        field: name, expected: "places below theta_d_length \(theta.count)",
        actual: "\(own.value.min().item()) to \(own.value.max().item())")
    }
  }

  func factors() -> (a: Tensor, b: Tensor) {
    func matrix(_ places: Parameter, _ scales: Parameter) -> Tensor {
      theta.value.selecting(0, places.value.reshaped([-1])).reshaped(places.value.shape)
        * scales.value
    }
    return (matrix(places.a, scales.a), matrix(places.b, scales.b))
  }
}
