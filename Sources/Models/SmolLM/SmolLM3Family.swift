import JSONValues

extension DecoderFamily {
  /// SmolLM3: every fourth layer has no positions.
  static let smollm3 = DecoderFamily(
    modelType: "smollm3",
    defaults: [
      "rope_theta": 2_000_000, "tie_word_embeddings": true, "num_key_value_heads": 4,
      "max_position_embeddings": 32768, "no_rope_layer_interval": 4,
    ],
    derivesHeadSize: true,
    adjust: { (c, reader) throws(ModelError) in
      let interval = try reader.positive("no_rope_layer_interval")
      var rotates = (0..<c.layerCount).map { ($0 + 1) % interval != 0 }
      if reader.has("no_rope_layers") {
        // One means that the layer does have rotary embeddings.
        rotates = try reader.numbers("no_rope_layers", count: c.layerCount).map { $0 != 0 }
      }
      for layer in rotates.indices where !rotates[layer] { c.ropes[layer] = nil }
      if try reader.flag("use_sliding_window") { try c.slide(reader) { !rotates[$0] } }
    })
}
