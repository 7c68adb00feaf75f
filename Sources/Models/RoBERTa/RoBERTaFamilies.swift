import JSONValues
import Layers

extension EncoderFamily {
  /// RoBERTa.
  static let roberta = likeRoBERTa("roberta", vocabularySize: 50265)

  /// XLM-RoBERTa: the same with a vocabulary of many languages.
  static let xlmRoberta = likeRoBERTa("xlm-roberta", vocabularySize: 30522)

  /// BERT's blocks with positions that are counted behind padding, and other heads.
  private static func likeRoBERTa(_ modelType: String, vocabularySize: Int) -> EncoderFamily {
    var names = EncoderNames()
    names.encoder = "roberta"
    return EncoderFamily(
      modelType: modelType,
      defaults: sizesOfBERT.merging([
        "vocab_size": .integer(vocabularySize), "type_vocab_size": 2, "pad_token_id": 1,
      ]) { _, own in own },
      names: names,
      heads: EncoderHeads(
        sequence: HeadNames(
          dense: "classifier.dense", activation: .tanh, output: "classifier.out_proj"),
        token: HeadNames(output: "classifier"), answer: HeadNames(output: "qa_outputs"),
        maskedLM: HeadNames(
          dense: "lm_head.dense", activation: .gelu, norm: "lm_head.layer_norm",
          output: "lm_head.decoder", outputBias: "lm_head.bias")),
      dropout: { (reader) throws(ModelError) in
        var rates = try DropoutRates.bert(reader)
        rates.rowHeadInput = rates.rowHead
        return rates
      },
      adjust: { (c, reader) throws(ModelError) in
        guard let id = c.paddingID, c.positionCount > id + 1 else {
          throw reader.wrong(
            "pad_token_id",
            "a token below max_position_embeddings, as positions are counted from the one behind it"
          )
        }
        c.positions = .behindPadding(id)
      })
  }
}
