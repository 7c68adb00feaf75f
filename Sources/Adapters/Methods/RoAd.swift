import Layers
import Tensors

/// Configuration of RoAd: pairs of outputs are rotated and scaled, y1' = a cos(t) y1 - a sin(t) y2
/// and y2' = a cos(t) y2 + a sin(t) y1, the bias included.
///
/// Within each group of outputs, number i is paired with number i + groupSize / 2.
///
/// Source: Liao and Monz 2024, arXiv 2409.00119. Defaults are those of PEFT 0.21.2.
public struct RoAdConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "ROAD"

  /// How much of the four entries of a pair's matrix is trained apart.
  public enum Variant: String, Sendable, CaseIterable {
    /// One angle and one scale for each pair: a rotation.
    case one = "road_1"
    /// One angle and one scale for each output.
    case two = "road_2"
    /// One angle and one scale for each entry.
    case four = "road_4"
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// How much is trained apart.
  public var variant = Variant.one
  /// Outputs that pairs are made within: even, and a divisor of every target's outputs.
  public var groupSize = 64
  /// Whether angles start as 0 and scales as 1, which change nothing, instead of normal numbers.
  public var hasStandardInitialization = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - variant: How much is trained apart.
  ///   - groupSize: Outputs that pairs are made within.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(variant: Variant = .one, groupSize: Int = 64, targetModules: TargetModules? = nil) {
    self.variant = variant
    self.groupSize = groupSize
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .choice("variant", \.variant), .integer("group_size", \.groupSize),
      .flag("init_weights", \.hasStandardInitialization), .targetModules, .modulesToSave,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try require(
      "group_size", groupSize > 0 && groupSize % 2 == 0, "a positive even number", groupSize)
  }
}

extension RoAdConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    guard site.outputSize % groupSize == 0 else {
      throw misfit(
        site, field: "group_size", expected: "a divisor of its \(site.outputSize) outputs",
        actual: "\(groupSize)")
    }
    let count =
      switch variant {
      case .one: site.outputSize / 2
      case .two: site.outputSize
      case .four: site.outputSize * 2
      }
    let angles =
      hasStandardInitialization ? site.zeros([count]) : site.normal([count], deviation: 0.5)
    let scales =
      hasStandardInitialization
      ? site.constant([count], 1) : Parameter(site.normal([count], deviation: 0.5).value + 1.0)
    return RoAdAdapter(angles, scales, variant, groupSize: groupSize)
  }
}

/// Rotations of pairs of one layer's outputs.
final class RoAdAdapter: LayerAdapter {
  let angles: Parameter  // [out / 2], [out] or [2 out], in radians
  let scales: Parameter  // like angles
  let variant: RoAdConfig.Variant
  let groupSize: Int

  init(_ angles: Parameter, _ scales: Parameter, _ variant: RoAdConfig.Variant, groupSize: Int) {
    self.angles = angles
    self.scales = scales
    self.variant = variant
    self.groupSize = groupSize
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("road_theta", angles), AdapterParameter("road_alpha", scales)]
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    rotated(y.to(.computing(y.dtype, angles.value.dtype))).to(y.dtype)
  }

  func merge(into layer: inout MergedLayer) {
    withoutGradients {
      layer.weight = rotated(layer.weight.transposed()).transposed().contiguous()
      layer.bias = layer.bias.map(rotated)
    }
  }

  /// Rows with their pairs rotated; `[..., out]`.
  private func rotated(_ y: Tensor) -> Tensor {
    let (cosine, sine) = factors(y.dtype)
    let halves = y.reshaped([y.count / groupSize, 2, groupSize / 2])
    let turned = Tensor.concatenated(
      [-halves.narrowed(1, 1..<2), halves.narrowed(1, 0..<1)], dimension: 1)
    return y * cosine + turned.reshaped(y.shape) * sine
  }

  /// Scaled cosines and sines for each output, `[out]`.
  private func factors(_ type: DType) -> (cosine: Tensor, sine: Tensor) {
    let (angles, scales) = (angles.value.to(type), scales.value.to(type))
    switch variant {
    case .one:
      func both(_ values: Tensor) -> Tensor {
        let half = groupSize / 2
        return values.reshaped([values.count / half, 1, half]).expanded([-1, 2, -1])
          .reshaped([values.count * 2])
      }
      return (both(scales * angles.cosine()), both(scales * angles.sine()))
    case .two:
      return (scales * angles.cosine(), scales * angles.sine())
    case .four:
      let shape = [angles.count / (2 * groupSize), 2, groupSize]
      func part(_ values: Tensor, _ index: Int) -> Tensor {
        values.reshaped(shape).selected(1, index).reshaped([values.count / 2])
      }
      return (
        part(scales, 0) * part(angles, 0).cosine(), part(scales, 1) * part(angles, 1).sine()
      )
    }
  }
}
