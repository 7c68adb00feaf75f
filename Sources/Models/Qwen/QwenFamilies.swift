import JSONValues

extension DecoderFamily {
  /// Qwen2 and Qwen2.5: biases on q, k and v.
  static let qwen2 = DecoderFamily(
    modelType: "qwen2", defaults: ["sliding_window": 4096], derivesHeadSize: true,
    adjust: { (c, reader) throws(ModelError) in
      (c.hasQueryKeyValueBias, c.hasOutputBias) = (true, false)
      try slideLate(&c, reader)
    })

  /// Qwen3, dense: norms on each head of queries and keys.
  static let qwen3 = DecoderFamily(
    modelType: "qwen3", defaults: ["head_dim": 128, "sliding_window": 4096],
    adjust: { (c, reader) throws(ModelError) in
      c.queryKeyNorm = .perHead
      try slideLate(&c, reader)
    })

  /// Layers from `max_window_layers` on slide, if `use_sliding_window` is on at all.
  private static func slideLate(
    _ c: inout DecoderConfiguration, _ reader: ConfigurationReader
  ) throws(ModelError) {
    guard try reader.flag("use_sliding_window") else { return }
    let first = try reader.integer("max_window_layers", default: 28)
    try c.slide(reader) { $0 >= first }
  }
}
