import Checkpoints
import Foundation

/// Sizes and switches of a decoder as the metadata of a GGUF file.
struct GGUFExportMetadata {
  /// Keys and values in the order to write.
  private(set) var entries: [(key: String, value: GGUFValue)] = []
  private let architecture: GGUFExportArchitecture
  private let model: DecoderConfiguration

  /// Describes a model.
  ///
  /// - Parameters:
  ///   - model: Shape and switches, which `architecture` has been checked for.
  ///   - architecture: What llama.cpp calls it.
  init(_ model: DecoderConfiguration, _ architecture: GGUFExportArchitecture) {
    self.model = model
    self.architecture = architecture
    size("vocab_size", model.vocabularySize)
    size("context_length", contextLength)
    size("embedding_length", model.hiddenSize)
    size("block_count", model.layerCount)
    size("feed_forward_length", model.intermediateSize)
    size("attention.head_count", model.headCount)
    if case .layer = model.normalization {
      number("attention.layer_norm_epsilon", model.normEpsilon)
    } else {
      number("attention.layer_norm_rms_epsilon", model.normEpsilon)
    }
    guard architecture.name != "gpt2" else { return }
    size("attention.head_count_kv", model.keyValueHeadCount)
    size("attention.key_length", model.headSize)
    size("attention.value_length", model.headSize)
    addFactors()
    addRope()
    let window = model.slidingWindows.compactMap { $0 }.first
    let saysWindow =
      architecture.allows.contains(.window)
      || architecture.allows.contains(.describedWindow)
    if let window, saysWindow { size("attention.sliding_window", window) }
  }

  /// The longest text for which the file means what the model does: a window that the architecture
  /// has no word for changes nothing within its own length.
  var contextLength: Int {
    let kept: Set<GGUFExportArchitecture.Feature> = [.window, .describedWindow]
    guard architecture.allows.isDisjoint(with: kept) else { return model.maximumLength }
    return model.slidingWindows.compactMap { $0 }.reduce(model.maximumLength, min)
  }

  private mutating func put(_ key: String, _ value: GGUFValue) {
    entries.append(("\(architecture.name).\(key)", value))
  }

  private mutating func size(_ key: String, _ value: Int) { put(key, .uint32(UInt32(value))) }

  private mutating func number(_ key: String, _ value: Double) { put(key, .float32(Float(value))) }

  private mutating func addFactors() {
    if let cap = model.attentionSoftcap { number("attn_logit_softcapping", cap) }
    if let cap = model.logitsSoftcap { number("final_logit_softcapping", cap) }
    guard architecture.allows.contains(.factors) else { return }
    number("attention.scale", model.attentionScales[0])
    number("embedding_scale", model.embeddingScale)
    number("residual_scale", model.residualScale)
    number("logit_scale", model.logitsDivisor)
  }

  private mutating func addRope() {
    guard let rope = architecture.mainRope(model) else { return }
    size("rope.dimension_count", rope.rotatedSize)
    number("rope.freq_base", rope.theta)
    switch rope.scaling {
    case .none, .dynamic, .llama3: break
    case .linear(let factor):
      put("rope.scaling.type", .string("linear"))
      number("rope.scaling.factor", factor)
    case .yarn(let yarn):
      put("rope.scaling.type", .string("yarn"))
      number("rope.scaling.factor", yarn.factor)
      size("rope.scaling.original_context_length", yarn.originalLength)
    case .long(_, _, let original):
      // The factors themselves are tensors.
      size("rope.scaling.original_context_length", original)
      number("rope.scaling.attn_factor", rope.attentionFactor)
    }
  }

  /// Divisors of frequencies that files hold as tensors.
  var factors: [(name: String, values: [Float])] {
    guard let rope = architecture.mainRope(model) else { return [] }
    switch rope.scaling {
    case .long(let short, let long, _):
      return [
        ("rope_factors_long.weight", long.map(Float.init)),
        ("rope_factors_short.weight", short.map(Float.init)),
      ]
    case .llama3(let factor, let low, let high, let original):
      let values = (0..<rope.rotatedSize / 2).map { index -> Float in
        let share = 2 * Double(index) / Double(rope.rotatedSize)
        let wavelength = 2 * Double.pi * pow(rope.theta, share)
        let length = Double(original)
        if wavelength < length / high { return 1 }
        if wavelength > length / low { return Float(factor) }
        let smooth = (length / wavelength - low) / (high - low)
        return Float(1 / ((1 - smooth) / factor + smooth))
      }
      return [("rope_freqs.weight", values)]
    default: return []
    }
  }
}
