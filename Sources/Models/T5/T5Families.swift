import Foundation
import JSONValues
import Layers

extension EncoderDecoderFamily {
  /// T5, Flan-T5: the first ones scale what the head reads and have its table in common.
  static let t5 = likeT5(
    "t5", ["feed_forward_proj": "relu"],
    scalesOutputs: { reader throws(ModelError) in
      // Files of the first generation say it by this flag alone; all tie their tables all the same.
      try reader.flag(
        "scale_decoder_outputs", default: reader.flag("tie_word_embeddings", default: true))
    })

  /// mT5.
  static let mt5 = likeT5(
    "mt5",
    [
      "vocab_size": 250112, "d_ff": 1024, "num_layers": 8, "num_heads": 6,
      "feed_forward_proj": "gated-gelu",
    ],
    scalesOutputs: { _ throws(ModelError) in false })

  private static func likeT5(
    _ modelType: String, _ defaults: [String: JSON],
    scalesOutputs: @escaping @Sendable (ConfigurationReader) throws(ModelError) -> Bool
  ) -> EncoderDecoderFamily {
    EncoderDecoderFamily(
      modelType: modelType,
      defaults: [
        "vocab_size": 32128, "hidden_size": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6,
        "num_heads": 8, "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6, "pad_token_id": 0,
        "eos_token_id": 1,
      ].merging(defaults) { _, own in own },
      keys: ["hidden_size": "d_model"],
      names: .t5,
      tasks: [
        .sequenceClassification, .tokenClassification, .questionAnswering, .featureExtraction,
      ],
      alwaysTies: true, featuresOfEncoder: true,
      stack: { name, _, reader throws(ModelError) in
        let layers = try reader.positive("num_layers")
        return Configuration.Stack(
          layerCount: name == "encoder"
            ? layers : try reader.positive("num_decoder_layers", default: layers),
          headCount: try reader.positive("num_heads"), headSize: try reader.positive("d_kv"),
          intermediateSize: try reader.positive("d_ff"))
      },
      positions: { reader throws(ModelError) in
        let buckets = try reader.positive("relative_attention_num_buckets")
        guard buckets >= 4, buckets % 2 == 0 else {
          throw reader.wrong("relative_attention_num_buckets", "an even number from 4 on")
        }
        let distance = try reader.positive("relative_attention_max_distance")
        guard distance > buckets / 2 else {
          throw reader.wrong(
            "relative_attention_max_distance",
            "a number above half of the \(buckets) relative_attention_num_buckets")
        }
        return .relative(RelativePositions(bucketCount: buckets, maximumDistance: distance))
      },
      initializerRange: { width, reader throws(ModelError) in
        try reader.number("initializer_factor", default: 1) / Double(width).squareRoot()
      },
      adjust: { c, reader throws(ModelError) in
        c.normalization = .rootMeanSquare(.cast)
        c.normEpsilon = try reader.positiveNumber("layer_norm_epsilon")
        (c.normsFirst, c.hasBias, c.scalesScores, c.keepsDownWide) = (true, false, false, true)
        (c.activation, c.isGated) = try feedForward(reader)
        c.dropout = try .t5(reader)
        if try scalesOutputs(reader) { c.headScale = 1 / Double(c.hiddenSize).squareRoot() }
      })
  }

  /// The function of `feed_forward_proj`, and whether there is a gate.
  private static func feedForward(
    _ reader: ConfigurationReader
  ) throws(ModelError) -> (ActivationFunction, isGated: Bool) {
    let name = try reader.string("feed_forward_proj")
    // The first gated files say "gated-gelu" and mean the formula with tanh.
    if name == "gated-gelu" { return (.geluNew, true) }
    let isGated = name.hasPrefix("gated-")
    guard let function = ActivationFunction(rawValue: isGated ? String(name.dropFirst(6)) : name)
    else {
      let known = ActivationFunction.allCases.map(\.rawValue)
      throw .unsupported(
        path: reader.path, what: "feed_forward_proj \"\(name)\"",
        supported: ["one of the following, or \"gated-\" before it: "] + known)
    }
    return (function, isGated)
  }
}

extension EncoderDecoderNames {
  fileprivate static var t5: EncoderDecoderNames {
    var names = EncoderDecoderNames(
      model: "transformer", standsOpen: true,
      encoderBlock: Block(
        selfAttention: "layer.0.SelfAttention", selfNorm: "layer.0.layer_norm",
        mlp: "layer.1.DenseReluDense.", mlpNorm: "layer.1.layer_norm"),
      decoderBlock: Block(
        selfAttention: "layer.0.SelfAttention", selfNorm: "layer.0.layer_norm",
        crossAttention: "layer.1.EncDecAttention", crossNorm: "layer.1.layer_norm",
        mlp: "layer.2.DenseReluDense.", mlpNorm: "layer.2.layer_norm"))
    (names.layers, names.finalNorm) = ("block", "final_layer_norm")
    names.relativeBias = "relative_attention_bias"
    (names.query, names.key, names.value, names.output) = ("q", "k", "v", "o")
    (names.gate, names.gatedUp, names.up, names.down) = ("wi_0", "wi_1", "wi", "wo")
    return names
  }
}
