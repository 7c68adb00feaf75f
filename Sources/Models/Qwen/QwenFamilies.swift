import JSONValues

extension DecoderFamily {
  /// Qwen2 and Qwen2.5: biases on q, k and v.
  static let qwen2 = DecoderFamily(
    modelType: "qwen2", defaultTheta: 10000, defaultEpsilon: 1e-6, derivesHeadSize: true,
    queryKeyValueBias: true, outputFollowsAttentionBias: false, slidingWindow: qwenWindow)

  /// Qwen3, dense: norms on each head of queries and keys.
  static let qwen3 = DecoderFamily(
    modelType: "qwen3", defaultTheta: 10000, defaultEpsilon: 1e-6, defaultHeadSize: 128,
    queryKeyNorm: true, slidingWindow: qwenWindow)

  /// Layers from `max_window_layers` on slide, if `use_sliding_window` is on at all.
  private static let qwenWindow: @Sendable (ConfigurationReader, Int) throws(ModelError) -> Int? = {
    (reader, layer) throws(ModelError) in
    guard try reader.flag("use_sliding_window", default: false),
      reader.json["sliding_window"] == nil || reader.has("sliding_window")
    else { return nil }
    let window = try reader.positive("sliding_window", default: 4096)
    if let types = reader.json["layer_types"]?.arrayValue, layer < types.count {
      return types[layer].stringValue == "sliding_attention" ? window : nil
    }
    return layer >= (try reader.integer("max_window_layers", default: 28)) ? window : nil
  }
}
