import JSONValues

extension DecoderFamily {
  /// Mistral 7B and Nemo: every layer slides where a window is given.
  static let mistral = DecoderFamily(
    modelType: "mistral", defaultTheta: 10000, defaultEpsilon: 1e-6, queryKeyValueBias: false,
    outputFollowsAttentionBias: false,
    slidingWindow: { (reader, _) throws(ModelError) in
      // A missing key means the class's default, an explicit null means no window.
      if reader.json["sliding_window"] == nil { return 4096 }
      return reader.has("sliding_window") ? try reader.positive("sliding_window") : nil
    })
}
