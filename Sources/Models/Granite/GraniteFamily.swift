import JSONValues

extension DecoderFamily {
  /// Granite 3, dense: factors of embeddings, attention, residuals and scores.
  static let granite = DecoderFamily(
    modelType: "granite",
    derivesHeadSize: true,
    adjust: { (c, reader) throws(ModelError) in
      c.embeddingScale = try reader.number("embedding_multiplier", default: 1)
      c.residualScale = try reader.number("residual_multiplier", default: 1)
      c.logitsDivisor = try reader.positiveNumber("logits_scaling", default: 1)
      c.attentionScales = Array(
        repeating: try reader.number("attention_multiplier", default: 1), count: c.layerCount)
    })
}
