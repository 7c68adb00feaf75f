import JSONValues

extension DecoderFamily {
  /// Llama 1 to 3, TinyLlama, SmolLM2.
  static let llama = DecoderFamily(modelType: "llama")
}
