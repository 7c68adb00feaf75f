public import Layers
import Tensors

/// Configuration of PEANuT: D = scaling B f(A W), a small network over the weight W, with A and B of
/// rank r.
///
/// f is the activation, then `depth` layers of r x r with it, then as many that each also add what went
/// into the layer opposite.
///
/// Several adapters add up, each over the weight without the others.
///
/// Source: Zhong et al. 2024, arXiv 2410.01870. Defaults are those of PEFT 0.21.2.
public struct PeanutConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "PEANUT"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Width of the network.
  public var rank = 32
  /// Layers between A and the middle, and from there to B.
  public var depth = 0
  /// Function behind each layer but B.
  public var activation = ActivationFunction.relu
  /// Factor of D.
  public var scaling = 1.0
  /// Whether a fresh adapter changes nothing: B is zero; else it is random too.
  public var startsAtIdentity = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .integer("depth", \.depth), .choice("act_fn", \.activation),
      .number("scaling", \.scaling), .flag("init_weights", \.startsAtIdentity), .targetModules,
      .excludeModules, .layersToTransform, .layersPattern, .modulesToSave,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("rank (r)", rank)
    try require("depth", depth >= 0, "at least 0", depth)
    try requireFinite("scaling", scaling)
  }
}

extension PeanutConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let last = [site.outputSize, rank]
    let square = [rank, rank]
    return PeanutAdapter(
      a: site.linearUniform([rank, site.outputSize]),
      encoders: (0..<depth).map { _ in site.linearUniform(square) },
      decoders: (0..<depth).map { _ in site.linearUniform(square) },
      b: startsAtIdentity ? site.zeros(last) : site.linearUniform(last),
      activation: activation, scaling: scaling, base: site.base)
  }
}

final class PeanutAdapter: FactoredAdapter {
  let a, b: Parameter  // [rank, out], [out, rank]
  let encoders, decoders: [Parameter]  // [rank, rank]
  let activation: ActivationFunction
  let scaling: Double
  let base: any LinearProjection

  init(
    a: Parameter, encoders: [Parameter], decoders: [Parameter], b: Parameter,
    activation: ActivationFunction, scaling: Double, base: any LinearProjection
  ) {
    (self.a, self.b, self.encoders, self.decoders) = (a, b, encoders, decoders)
    self.activation = activation
    self.scaling = scaling
    self.base = base
  }

  var parameters: [AdapterParameter] {
    func listed(_ name: String, _ list: [Parameter]) -> [AdapterParameter] {
      list.enumerated().map { AdapterParameter("\(name).\($0.offset).weight", $0.element) }
    }
    return [AdapterParameter("peanut_A.weight", a), AdapterParameter("peanut_B.weight", b)]
      + listed("peanut_encoders", encoders) + listed("peanut_decoders", decoders)
  }

  /// What the network makes of the weight before B, `[rank, in]`.
  private func hidden() -> Tensor {
    let weight = base.denseWeight().detached().to(a.value.dtype)
    var hidden = activation(a.value.matrixProduct(weight))
    var residuals: [Tensor] = []
    for encoder in encoders {
      residuals.append(hidden)
      hidden = activation(encoder.value.matrixProduct(hidden))
    }
    for (decoder, residual) in zip(decoders, residuals.reversed()) {
      hidden = activation(decoder.value.matrixProduct(hidden)) + residual
    }
    return hidden
  }

  var scale: Double { scaling }

  func factors() -> (a: Tensor, b: Tensor) { (hidden(), b.value) }
}
