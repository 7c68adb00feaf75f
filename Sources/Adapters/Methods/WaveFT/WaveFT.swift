import JSONValues
import Layers
import Tensors

/// Configuration of wavelet fine-tuning: D is one level of the inverse wavelet transform of a matrix
/// with n numbers at random places, times a scale; without the transform, that matrix itself.
///
/// The places are not in the file: a seed fixes them.
///
/// Wavelets are db1 ... db10, sym2 ... sym10 and coif1 ... coif5; PEFT 0.21.2 accepts names of longer
/// ones too but fails in using them, so that they are
/// refused here unless the transform is off.
///
/// Source: Bilican et al. 2025, arXiv 2505.12532. Defaults are those of PEFT 0.21.2.
public struct WaveFTConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "WAVEFT"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// n, how many numbers a layer gets.
  public var frequencyCount = 2592
  /// n of single layers by an expression for the end of their path; the first match counts.
  public var frequencyCountPattern: [PathPattern<Int>] = []
  /// Whether the layers' n are instead in proportion to their sizes, with n as their mean.
  public var isProportional = false
  /// Factor of D.
  public var scaling = 25.0
  /// The wavelet.
  public var wavelet = "db1"
  /// Whether the numbers are coefficients of wavelets, else D's own.
  public var usesTransform = true
  /// Seed of the places.
  public var locationSeed = 777
  /// Whether a fresh adapter changes nothing; else its numbers are normal with deviation 0.01.
  public var startsAtIdentity = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("n_frequency", \.frequencyCount),
      .pattern("n_frequency_pattern", \.frequencyCountPattern),
      .flag("proportional_parameters", \.isProportional), .number("scaling", \.scaling),
      .string("wavelet_family", \.wavelet), .flag("use_idwt", \.usesTransform),
      .integer("random_loc_seed", \.locationSeed), .flag("init_weights", \.startsAtIdentity),
      .fanInFanOut, .targetModules, .excludeModules, .layersToTransform,
      .layersPattern, .bias, .modulesToSave,
    ]
  }

  /// As for LoRA, but the GPT-2s' mlp.c_proj, and not for BTLM and RWKV.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.wavelet[modelType]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("n_frequency", frequencyCount)
    try requirePositive("n_frequency_pattern", frequencyCountPattern)
    try requireFinite("scaling", scaling)
    try require("random_loc_seed", locationSeed >= 0, "at least 0", locationSeed)
    try require(
      "wavelet_family",
      usesTransform ? WaveletFilters(wavelet) != nil : WaveletFilters.isName(wavelet),
      WaveletFilters.names.joined(separator: ", "), wavelet)
  }
}

extension WaveFTConfig: LayerMethod {
  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    let total = Double(sites.reduce(0) { $0 + $1.inputSize * $1.outputSize })
    var made: [any LayerAdapter] = []
    for site in sites {
      var count = try frequencyCountPattern.value(for: site.path, default: frequencyCount)
      if isProportional {
        let share = Double(site.inputSize * site.outputSize) / total
        let budget = Double(frequencyCount * sites.count)
        count = max(1, Int((share * budget).rounded(.toNearestOrEven)))
      }
      try checkCount(count, site)
      made.append(
        WaveFTAdapter(
          startsAtIdentity ? site.zeros([count]) : site.normal([count], deviation: 0.01),
          places: site.randomPlaces(count, seed: UInt64(locationSeed)),
          filters: usesTransform ? WaveletFilters(wavelet) : nil, site: site, scaling: scaling))
    }
    return LayerAdapters(layers: made)
  }
}

final class WaveFTAdapter: DeltaAdapter {
  let spectrum: Parameter  // [n]
  let places: Tensor  // int64 [n], in the padded matrix
  let shape: [Int]  // of the weight
  let paddedShape: [Int]
  let filters: WaveletFilters?
  let scaling: Double

  init(
    _ spectrum: Parameter, places: Tensor, filters: WaveletFilters?, site: LayerSite,
    scaling: Double
  ) {
    self.spectrum = spectrum
    self.filters = filters
    self.scaling = scaling
    let shape = [site.outputSize, site.inputSize]
    self.shape = shape
    // Even, and larger by what the inverse transform loses; the weight's own places in the middle.
    let padded = filters.map { filters in
      shape.map { ($0 + filters.excess + 1) / 2 * 2 }
    }
    let (rows, columns) = padded.map { ($0[0], $0[1]) } ?? (shape[0], shape[1])
    paddedShape = [rows, columns]
    let (top, left) = ((rows - shape[0]) / 2, (columns - shape[1]) / 2)
    let moved = places.array(of: Int.self).map { place in
      (place / shape[1] + top) * columns + place % shape[1] + left
    }
    self.places = Tensor(moved).to(device: site.device)
  }

  var parameters: [AdapterParameter] { [AdapterParameter("waveft_spectrum", spectrum)] }

  func delta() -> Tensor {
    let bands = sparseMatrix(spectrum.value, at: places, shape: paddedShape)
    let delta = filters?.inverse(bands) ?? bands
    return delta.narrowed(0, 0..<shape[0]).narrowed(1, 0..<shape[1]) * scaling
  }
}
