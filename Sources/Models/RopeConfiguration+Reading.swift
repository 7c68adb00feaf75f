import Foundation
import JSONValues

extension ConfigurationReader {
  /// What the file says of rotary embeddings in either dialect; empty when it says nothing.
  func ropeParameters() throws(ModelError) -> ConfigurationReader {
    let isOld = !mentions("rope_parameters") && json["rope_scaling"].map { !$0.isNull } ?? false
    return try nested(isOld ? "rope_scaling" : "rope_parameters")
  }
}

extension RopeConfiguration {
  static let supported = ["default", "linear", "dynamic", "llama3", "yarn", "longrope"]

  /// Reads both dialects: `rope_parameters` (version 5) and `rope_theta` with `rope_scaling`.
  ///
  /// - Parameters:
  ///   - reader: The model's configuration.
  ///   - headSize: Dimensions of a head.
  ///   - layerType: Name of the layers that it is for, where the file has several.
  /// - Throws: ``ModelError`` when a value is out of range or the kind is not known.
  init(
    _ reader: ConfigurationReader, headSize: Int, layerType: String? = nil
  ) throws(ModelError) {
    var nested = try reader.ropeParameters()
    if let layerType, nested.json[layerType] != nil {
      nested = try nested.nested(layerType)
    } else if layerType != nil && layerType != "full_attention" {
      // The old dialect's one dictionary is for the layers that see everything.
      nested = ConfigurationReader(json: .null, path: reader.path)
    }
    let isLocal = layerType != nil && layerType != "full_attention"
    let theta = try nested.positiveNumber(
      "rope_theta",
      default: isLocal
        ? reader.positiveNumber("rope_local_base_freq", default: 10000)
        : reader.positiveNumber("rope_theta", default: 10000))
    let share = try nested.positiveNumber(
      "partial_rotary_factor", default: reader.number("partial_rotary_factor", default: 1))
    let rotated = share <= 1 ? Int(Double(headSize) * share) : 0
    guard rotated > 0 else {
      throw nested.wrong("partial_rotary_factor", "a share of a head of \(headSize) dimensions")
    }
    self.init(theta: theta, rotatedSize: rotated + rotated % 2, scaling: .none)
    let kind = try nested.string("rope_type", default: nested.string("type", default: "default"))
    let renamed = reader.names["rope_type " + kind] ?? kind
    let maximum = try reader.positive("max_position_embeddings", default: 2048)
    let original = try reader.positive(
      "original_max_position_embeddings",
      default: nested.positive("original_max_position_embeddings", default: maximum))
    switch renamed {
    case "default": scaling = .none
    case "linear": scaling = .linear(factor: try nested.positiveNumber("factor", default: 1))
    case "dynamic":
      scaling = .dynamic(factor: try nested.positiveNumber("factor", default: 1), length: maximum)
    case "llama3":
      scaling = .llama3(
        factor: try nested.positiveNumber("factor", default: 8),
        low: try nested.positiveNumber("low_freq_factor", default: 1),
        high: try nested.positiveNumber("high_freq_factor", default: 4), originalLength: original)
    case "yarn": try readYarn(nested, maximum, original)
    case "longrope":
      let factor = try nested.positiveNumber(
        "factor", default: Double(maximum) / Double(original))
      attentionFactor = try nested.number(
        "attention_factor",
        default: factor <= 1 ? 1 : (1 + log(factor) / log(Double(original))).squareRoot())
      scaling = .long(
        short: try nested.numbers("short_factor", count: rotatedSize / 2),
        long: try nested.numbers("long_factor", count: rotatedSize / 2), originalLength: original)
    default:
      throw .unsupported(
        path: reader.path, what: "rope type \"\(kind)\"", supported: Self.supported)
    }
  }

  private mutating func readYarn(
    _ nested: ConfigurationReader, _ maximum: Int, _ original: Int
  ) throws(ModelError) {
    let factor = try nested.positiveNumber("factor", default: Double(maximum) / Double(original))
    func stretched(_ scale: Double) -> Double {
      factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1
    }
    let (scale, all) = (
      try nested.number("mscale", default: 0), try nested.number("mscale_all_dim", default: 0)
    )
    attentionFactor = try nested.number(
      "attention_factor",
      default: scale != 0 && all != 0 ? stretched(scale) / stretched(all) : stretched(1))
    func orElse(_ found: Double, _ value: Double) -> Double { found == 0 ? value : found }
    scaling = .yarn(
      YarnScaling(
        factor: factor, fast: orElse(try nested.number("beta_fast", default: 32), 32),
        slow: orElse(try nested.number("beta_slow", default: 1), 1), originalLength: original,
        truncates: try nested.flag("truncate", default: true)))
  }
}
