/// How a model continues texts: lengths, choice of tokens, rules for their scores.
///
/// Defaults are those of transformers; `generation_config.json` holds the same under the names that are
/// given here in brackets.
public struct GenerationConfiguration: Equatable, Sendable {
  /// When beam search stops looking for better texts.
  public enum EarlyStopping: Equatable, Sendable {
    /// As soon as there are as many finished texts as beams (true).
    case whenFull
    /// When no text could become better at its present length (false).
    case heuristic
    /// When no text could become better at any length ("never").
    case never
  }

  // Length

  /// Most tokens to add; nil for what the greatest length leaves (`max_new_tokens`).
  public var maximumNewTokens: Int?
  /// Greatest length with prompt and padding; counts where `maximumNewTokens` is nil (`max_length`).
  public var maximumLength: Int?
  /// Least length with prompt and padding (`min_length`).
  public var minimumLength = 0
  /// Least number of tokens to add (`min_new_tokens`).
  public var minimumNewTokens = 0
  /// Time after which no token is begun, in seconds; nil for no limit (`max_time`).
  public var maximumSeconds: Double?
  /// Texts that end a row where they are written (`stop_strings`).
  public var stopStrings: [String] = []

  // Choice

  /// Whether tokens are drawn; otherwise the best one is taken (`do_sample`).
  public var samples = false
  /// Start of the random sequence.
  public var seed: UInt64 = 0
  /// Texts that are followed at once (`num_beams`).
  public var beamCount = 1
  /// Texts to return for each prompt (`num_return_sequences`).
  public var returnCount = 1
  /// Exponent of the length by which a text's score is divided (`length_penalty`).
  public var lengthPenalty = 1.0
  /// When beam search stops (`early_stopping`).
  public var earlyStopping = EarlyStopping.heuristic

  // Rules for scores

  /// Sequences whose last token is made more or less likely (`sequence_bias`).
  public var sequenceBias: [SequenceBias.Entry] = []
  /// Above 1 for tokens that the encoder read (`encoder_repetition_penalty`).
  public var encoderRepetitionPenalty = 1.0
  /// Above 1 against tokens that a row has (`repetition_penalty`).
  public var repetitionPenalty = 1.0
  /// What each time that a token was written costs it (`frequency_penalty`, not of transformers).
  public var frequencyPenalty = 0.0
  /// What having been written costs a token (`presence_penalty`, not of transformers).
  public var presencePenalty = 0.0
  /// Tokens in a row that may occur once only; 0 for no rule (`no_repeat_ngram_size`).
  public var noRepeatNGramSize = 0
  /// The same for what the encoder read (`encoder_no_repeat_ngram_size`).
  public var encoderNoRepeatNGramSize = 0
  /// Sequences of tokens that must not be written (`bad_words_ids`).
  public var badWords: [[Int]] = []
  /// The token behind the first one of a row (`forced_bos_token_id`).
  public var forcedFirstID: Int?
  /// Tokens of which one comes at the greatest length (`forced_eos_token_id`).
  public var forcedLastIDs: [Int] = []
  /// Whether scores that are no finite numbers are replaced (`remove_invalid_values`).
  public var removesInvalidValues = false
  /// How the end becomes more likely (`exponential_decay_length_penalty`).
  public var endGrowth: EndGrowth.Settings?
  /// Tokens that must not be written (`suppress_tokens`).
  public var suppressedIDs: [Int] = []
  /// Tokens that must not be written first (`begin_suppress_tokens`).
  public var suppressedFirstIDs: [Int] = []

  // Rules for drawing

  /// Divisor of the scores (`temperature`).
  public var temperature = 1.0
  /// Share of the entropy that is drawn from; nil for all (`top_h`).
  public var topH: Double?
  /// Draw from so many best tokens; 0 for all (`top_k`).
  public var topK = 50
  /// Draw from the best tokens with this joint probability (`top_p`).
  public var topP = 1.0
  /// Draw from tokens with this share of the best one's probability; nil for all (`min_p`).
  public var minP: Double?
  /// Draw from the most typical tokens with this joint probability (`typical_p`).
  public var typicalP = 1.0
  /// Draw from tokens with at least this probability (`epsilon_cutoff`).
  public var epsilonCutoff = 0.0
  /// The same, less where the entropy is large (`eta_cutoff`).
  public var etaCutoff = 0.0
  /// Whether scores are made logarithms of probabilities in the end (`renormalize_logits`).
  public var renormalizes = false

  // Tokens

  /// Tokens that end a text (`eos_token_id`).
  public var endOfTextIDs: [Int] = []
  /// The token that fills rows; nil for the first that ends a text (`pad_token_id`).
  public var paddingID: Int?
  /// The token that begins a text (`bos_token_id`).
  public var beginningOfTextID: Int?
  /// The token that a decoder behind an encoder begins with (`decoder_start_token_id`).
  public var decoderStartID: Int?

  /// Greedy choice without a limit but the model's own.
  public init() {}

  /// Tokens to add by default where neither file nor caller says.
  static let defaultNewTokens = 20

  /// Most tokens that may be added to rows that have a width already.
  ///
  /// - Parameter width: Tokens of each row, padding included.
  /// - Returns: As many as the greatest length leaves, at least none.
  public func room(behind width: Int) -> Int {
    maximumNewTokens ?? maximumLength.map { max(0, $0 - width) } ?? Self.defaultNewTokens
  }

  /// The token that fills rows; the first of the vocabulary where it lacks the one that is named.
  func filler(vocabularySize: Int) -> Int {
    let id = paddingID ?? endOfTextIDs.first ?? 0
    return (0..<vocabularySize).contains(id) ? id : 0
  }
}
