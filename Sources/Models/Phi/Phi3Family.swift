import JSONValues
import Layers

extension DecoderFamily {
  /// Phi-3, 3.5, 4 and 4-mini: fused projections, partial rotary embeddings.
  static let phi3 = DecoderFamily(
    modelType: "phi3",
    defaults: [
      "rms_norm_eps": 1e-5, "max_position_embeddings": 4096,
      "original_max_position_embeddings": 4096,
    ],
    // Old names of the same stretching.
    keys: ["rope_type su": "longrope", "rope_type yarn": "longrope"],
    names: .fused,
    derivesHeadSize: true,
    dropout: { (reader) throws(ModelError) in try .phi(reader, dropsEmbeddings: false) },
    adjust: { (c, reader) throws(ModelError) in
      (c.hasQueryKeyValueBias, c.hasOutputBias) = (false, false)
      try c.slideEverywhere(reader)
    })
}

extension DecoderNames {
  fileprivate static var fused: DecoderNames {
    var names = DecoderNames()
    names.fusedProjections = "qkv_proj"
    names.fusedGate = "gate_up_proj"
    return names
  }
}
