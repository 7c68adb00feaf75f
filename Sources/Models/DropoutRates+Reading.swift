import Layers

extension ConfigurationReader {
  /// A share of dropped elements; a null is 0.
  func dropoutRate(_ key: String, default rate: Double = 0) throws(ModelError) -> Double {
    let found = mentions(key) && !has(key) ? 0 : try number(key, default: rate)
    guard (0..<1).contains(found) else { throw wrong(key, "a share from 0 on and below 1") }
    return found
  }

  /// The first of some shares that is there and not null, else the default.
  func firstRate(_ keys: [String], default rate: Double) throws(ModelError) -> Double {
    for key in keys where has(key) { return try dropoutRate(key) }
    return rate
  }
}

extension DropoutRates {
  /// BERT's and RoBERTa's: behind embeddings, attention and MLP, and in front of heads.
  static func bert(_ reader: ConfigurationReader) throws(ModelError) -> DropoutRates {
    var rates = DropoutRates()
    let hidden = try reader.dropoutRate("hidden_dropout_prob", default: 0.1)
    (rates.embeddings, rates.attentionOutput, rates.mlpOutput) = (hidden, hidden, hidden)
    rates.attention = try reader.dropoutRate("attention_probs_dropout_prob", default: 0.1)
    rates.rowHead = try reader.firstRate(["classifier_dropout"], default: hidden)
    rates.tokenHead = rates.rowHead
    return rates
  }

  /// DistilBERT's, whose attention drops nothing behind its last matrix.
  static func distilbert(_ reader: ConfigurationReader) throws(ModelError) -> DropoutRates {
    var rates = DropoutRates()
    let hidden = try reader.dropoutRate("dropout", default: 0.1)
    (rates.embeddings, rates.mlpOutput, rates.tokenHead) = (hidden, hidden, hidden)
    rates.attention = try reader.dropoutRate("attention_dropout", default: 0.1)
    rates.rowHead = try reader.dropoutRate("seq_classif_dropout", default: 0.2)
    rates.answerHead = try reader.dropoutRate("qa_dropout", default: 0.1)
    return rates
  }

  /// ModernBERT's, of which all are 0 by default.
  static func modernbert(_ reader: ConfigurationReader) throws(ModelError) -> DropoutRates {
    var rates = DropoutRates()
    rates.embeddings = try reader.dropoutRate("embedding_dropout")
    rates.attention = try reader.dropoutRate("attention_dropout")
    rates.attentionOutput = rates.attention
    rates.mlpInner = try reader.dropoutRate("mlp_dropout")
    rates.rowHead = try reader.dropoutRate("classifier_dropout")
    (rates.tokenHead, rates.answerHead) = (rates.rowHead, rates.rowHead)
    return rates
  }

  /// Those of most decoders: weights of attention, and a head for classes of tokens.
  static func decoder(_ reader: ConfigurationReader) throws(ModelError) -> DropoutRates {
    var rates = DropoutRates()
    rates.attention = try reader.dropoutRate("attention_dropout")
    rates.tokenHead = try reader.firstRate(["classifier_dropout", "hidden_dropout"], default: 0.1)
    return rates
  }

  /// Those of GPT-2.
  static func gpt2(_ reader: ConfigurationReader) throws(ModelError) -> DropoutRates {
    var rates = try decoder(reader)
    rates.embeddings = try reader.dropoutRate("embd_pdrop", default: 0.1)
    rates.attention = try reader.dropoutRate("attn_pdrop", default: 0.1)
    rates.attentionOutput = try reader.dropoutRate("resid_pdrop", default: 0.1)
    rates.mlpOutput = rates.attentionOutput
    return rates
  }

  /// Those of Phi; the third generation drops nothing of embeddings.
  static func phi(
    _ reader: ConfigurationReader, dropsEmbeddings: Bool
  ) throws(ModelError) -> DropoutRates {
    var rates = try decoder(reader)
    if dropsEmbeddings { rates.embeddings = try reader.dropoutRate("embd_pdrop") }
    rates.attentionOutput = try reader.dropoutRate("resid_pdrop")
    rates.mlpOutput = rates.attentionOutput
    return rates
  }

  /// T5's: one rate everywhere, and one in front of heads.
  static func t5(_ reader: ConfigurationReader) throws(ModelError) -> DropoutRates {
    var rates = DropoutRates()
    let rate = try reader.dropoutRate("dropout_rate", default: 0.1)
    (rates.embeddings, rates.states, rates.attention) = (rate, rate, rate)
    (rates.attentionOutput, rates.mlpInner, rates.mlpOutput) = (rate, rate, rate)
    rates.rowHeadInput = try reader.dropoutRate("classifier_dropout")
    (rates.rowHead, rates.tokenHead) = (rates.rowHeadInput, rates.rowHeadInput)
    return rates
  }

  /// BART's.
  static func bart(_ reader: ConfigurationReader) throws(ModelError) -> DropoutRates {
    var rates = DropoutRates()
    let rate = try reader.dropoutRate("dropout", default: 0.1)
    (rates.embeddings, rates.attentionOutput, rates.mlpOutput) = (rate, rate, rate)
    rates.attention = try reader.dropoutRate("attention_dropout")
    rates.mlpInner = try reader.dropoutRate("activation_dropout")
    rates.rowHeadInput = try reader.dropoutRate("classifier_dropout")
    rates.rowHead = rates.rowHeadInput
    return rates
  }
}
