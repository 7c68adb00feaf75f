import JSONValues
import Layers
import Tensors

/// Configuration of Fourier fine-tuning: D is the real part of the inverse Fourier transform, over
/// both dimensions, of a matrix with n numbers at random places, times a scale.
///
/// The places are not in the file: a seed fixes them.
///
/// Source: Gao et al. 2024, arXiv 2405.03003. Defaults are those of PEFT 0.21.2, with which a fresh
/// adapter changes the output.
public struct FourierFTConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "FOURIERFT"
  /// As in PEFT's files.
  public static let adaptedBiasName = "fourier_only"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// n, how many numbers a layer gets.
  public var frequencyCount = 1000
  /// n of single layers by an expression for the end of their path; the first match counts.
  public var frequencyCountPattern: [PathPattern<Int>] = []
  /// Factor of D.
  public var scaling = 150.0
  /// Seed of the places.
  public var locationSeed = 777
  /// Whether a fresh adapter changes nothing; else its numbers are standard normal.
  public var startsAtIdentity = false

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("n_frequency", \.frequencyCount),
      .pattern("n_frequency_pattern", \.frequencyCountPattern), .number("scaling", \.scaling),
      .integer("random_loc_seed", \.locationSeed), .flag("init_weights", \.startsAtIdentity),
      .fanInFanOut, .targetModules, .excludeModules, .layersToTransform,
      .layersPattern, .bias, .modulesToSave,
    ]
  }

  /// As for LoRA, but the GPT-2s' mlp.c_proj.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.fourier[modelType]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("n_frequency", frequencyCount)
    try requirePositive("n_frequency_pattern", frequencyCountPattern)
    try requireFinite("scaling", scaling)
    try require("random_loc_seed", locationSeed >= 0, "at least 0", locationSeed)
  }
}

extension FourierFTConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let count = try frequencyCountPattern.value(for: site.path, default: frequencyCount)
    try checkCount(count, site)
    return FourierFTAdapter(
      startsAtIdentity ? site.zeros([count]) : site.normal([count]),
      places: site.randomPlaces(count, seed: UInt64(locationSeed)).to(device: site.device),
      shape: [site.outputSize, site.inputSize], scaling: scaling)
  }
}

extension LayerMethod {
  /// Checks that a layer has room for so many numbers.
  func checkCount(_ count: Int, _ site: LayerSite) throws(AdapterError) {
    let room = site.inputSize * site.outputSize
    guard count <= room else {
      throw misfit(site, field: "n_frequency", expected: "at most \(room)", actual: "\(count)")
    }
  }
}

final class FourierFTAdapter: DeltaAdapter {
  let spectrum: Parameter  // [n]
  let places: Tensor  // int64 [n]
  let shape: [Int]
  let scaling: Double

  init(_ spectrum: Parameter, places: Tensor, shape: [Int], scaling: Double) {
    self.spectrum = spectrum
    self.places = places
    self.shape = shape
    self.scaling = scaling
  }

  var parameters: [AdapterParameter] { [AdapterParameter("fourierft_spectrum", spectrum)] }

  func delta() -> Tensor {
    sparseMatrix(spectrum.value, at: places, shape: shape).inverseFourierTransform2D().realPart()
      * scaling
  }
}
