import JSONValues

extension EncoderFamily {
  /// BERT, MiniLM.
  static let bert = EncoderFamily(
    modelType: "bert",
    defaults: sizesOfBERT.merging([
      "vocab_size": 30522, "type_vocab_size": 2, "pad_token_id": 0,
    ]) { _, own in own },
    heads: EncoderHeads(
      sequence: HeadNames(output: "classifier"), token: HeadNames(output: "classifier"),
      answer: HeadNames(output: "qa_outputs"),
      maskedLM: HeadNames(
        dense: "cls.predictions.transform.dense", norm: "cls.predictions.transform.LayerNorm",
        output: "cls.predictions.decoder", outputBias: "cls.predictions.bias"),
      usesPooler: true))

  /// What the classes of BERT and its relatives have for sizes that a file leaves out.
  static let sizesOfBERT: [String: JSON] = [
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "max_position_embeddings": 512,
  ]
}
