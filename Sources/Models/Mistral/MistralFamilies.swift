import Foundation
import JSONValues

extension DecoderFamily {
  /// Mistral 7B and Nemo: every layer slides where a window is given.
  static let mistral = DecoderFamily(
    // A missing key means the class's default, an explicit null means no window.
    modelType: "mistral", defaults: ["sliding_window": 4096],
    adjust: { (c, reader) throws(ModelError) in
      (c.hasQueryKeyValueBias, c.hasOutputBias) = (false, false)
      try c.slideEverywhere(reader)
    })

  /// Ministral 3: YaRN, and queries that grow with their position.
  static let ministral3 = DecoderFamily(
    modelType: "ministral3",
    defaults: [
      "rms_norm_eps": 1e-5, "max_position_embeddings": 262144, "num_key_value_heads": 8,
      "head_dim": 128,
      "rope_parameters": [
        "rope_type": "yarn", "rope_theta": 1_000_000, "factor": 16,
        "original_max_position_embeddings": 16384, "beta_fast": 32, "beta_slow": 1, "mscale": 1,
        "mscale_all_dim": 1, "llama_4_scaling_beta": 0.1,
      ],
    ],
    adjust: { (c, reader) throws(ModelError) in
      (c.hasQueryKeyValueBias, c.hasOutputBias) = (false, false)
      try c.slideEverywhere(reader)
      let rope = try reader.ropeParameters()
      if let b = try rope.optionalNumber("llama_4_scaling_beta") {
        c.queryGrowth = (b, try rope.positive("original_max_position_embeddings"))
      }
    })
}
