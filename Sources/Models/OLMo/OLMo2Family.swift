import JSONValues
import Layers

extension DecoderFamily {
  /// OLMo 2: norms behind attention and MLP, and over whole queries and keys.
  static let olmo2 = DecoderFamily(
    modelType: "olmo2", defaults: ["rms_norm_eps": 1e-5], names: .normsBehind,
    derivesHeadSize: true,
    adjust: { (c, _) throws(ModelError) in
      c.normalization = .rootMeanSquare(.wide)
      c.queryKeyNorm = .whole
    })
}

extension DecoderNames {
  fileprivate static var normsBehind: DecoderNames {
    var names = DecoderNames()
    (names.attentionNorm, names.mlpNorm) = (nil, nil)
    names.attentionOutputNorm = "post_attention_layernorm"
    names.mlpOutputNorm = "post_feedforward_layernorm"
    return names
  }
}
