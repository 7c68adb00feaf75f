import JSONValues
import Layers

extension DecoderFamily {
  /// Phi-1, 1.5 and 2: attention and MLP side by side behind one norm.
  static let phi = DecoderFamily(
    modelType: "phi",
    defaults: [
      "hidden_act": "gelu_new", "partial_rotary_factor": 0.5, "layer_norm_eps": 1e-5,
    ],
    names: .sideBySide,
    derivesHeadSize: true,
    dropout: { (reader) throws(ModelError) in try .phi(reader, dropsEmbeddings: true) },
    adjust: { (c, reader) throws(ModelError) in
      guard try !reader.flag("qk_layernorm") else {
        throw .unsupported(path: reader.path, what: "qk_layernorm true", supported: ["false"])
      }
      c.normalization = .layer
      c.normEpsilon = try reader.positiveNumber("layer_norm_eps")
      c.isParallel = true
      (c.hasQueryKeyValueBias, c.hasOutputBias) = (true, true)
      (c.hasMLPBias, c.hasHeadBias) = (true, true)
    })
}

extension DecoderNames {
  fileprivate static var sideBySide: DecoderNames {
    var names = DecoderNames()
    names.finalNorm = "final_layernorm"
    names.attentionOutput = "dense"
    names.gate = nil
    (names.up, names.down) = ("fc1", "fc2")
    names.mlpNorm = nil
    return names
  }
}
