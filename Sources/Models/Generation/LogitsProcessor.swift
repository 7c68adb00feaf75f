public import Tensors

/// A rule that changes the scores of the next token before one is chosen.
public protocol LogitsProcessor {
  /// Changes scores.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`, all tokens of each row so far, padding on the left included.
  /// - Returns: float32 `[rows, vocabulary]`; the argument itself where nothing changes.
  func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor
}

/// What rules have to know of the rows that they work on.
public struct ProcessorContext {
  /// Tokens of the vocabulary.
  public var vocabularySize: Int
  /// Where scores live.
  public var device: Device
  /// Tokens of each row that were there before generation, padding included.
  public var promptLength: Int
  /// How many of these are padding on the left, by row.
  public var padding: [Int]
  /// Length, padding included, at which each row ends.
  public var endLengths: [Int]
  /// int64 `[prompts, length]`, what the encoder read; nil for a model without one.
  public var encoderIDs: Tensor?

  /// Makes a description.
  ///
  /// - Parameters:
  ///   - vocabularySize: Tokens of the vocabulary.
  ///   - device: Where scores live.
  ///   - promptLength: Tokens of each row before generation, padding included.
  ///   - padding: How many of them are padding, by row.
  ///   - endLengths: Length at which each row ends.
  ///   - encoderIDs: What the encoder read, of all rows or of one row for several.
  public init(
    vocabularySize: Int, device: Device, promptLength: Int, padding: [Int], endLengths: [Int],
    encoderIDs: Tensor? = nil
  ) {
    self.vocabularySize = vocabularySize
    self.device = device
    self.promptLength = promptLength
    self.padding = padding
    self.endLengths = endLengths
    self.encoderIDs = encoderIDs
  }

  /// True at given tokens, bool `[vocabulary]`; those that the vocabulary lacks are left out.
  func mask(of ids: some Sequence<Int>) -> Tensor {
    let mask = Tensor.zeros([vocabularySize], dtype: .bool, device: device)
    let known = Set(ids).filter { (0..<vocabularySize).contains($0) }.sorted()
    guard !known.isEmpty else { return mask }
    return mask.fillInPlace(0, at: Tensor(known).to(device: device), 1)
  }
}

/// Rules that are applied one after the other.
public struct LogitsProcessors: LogitsProcessor {
  /// The rules in their order.
  public var rules: [any LogitsProcessor]

  /// Makes a list.
  ///
  /// - Parameter rules: The rules in their order.
  public init(_ rules: [any LogitsProcessor]) { self.rules = rules }

  /// Applies all rules.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    rules.reduce(scores) { scores, rule in rule(scores, after: ids) }
  }
}

extension LogitsProcessors {
  /// The rules that a configuration asks for, in the order of transformers.
  ///
  /// `frequencyPenalty` and `presencePenalty`, which transformers lacks, come behind
  /// `repetitionPenalty`.
  ///
  /// - Parameters:
  ///   - configuration: What is asked for.
  ///   - context: The rows.
  ///   - more: Other rules, which come before those that only count when tokens are drawn.
  public init(
    _ configuration: GenerationConfiguration, _ context: ProcessorContext,
    more: [any LogitsProcessor] = []
  ) {
    let c = configuration
    let ends = context.mask(of: c.endOfTextIDs)
    var rules: [any LogitsProcessor] = []
    if !c.sequenceBias.isEmpty { rules.append(SequenceBias(c.sequenceBias, context)) }
    if let encoderIDs = context.encoderIDs, c.encoderRepetitionPenalty != 1 {
      rules.append(EncoderRepetitionPenalty(c.encoderRepetitionPenalty, encoderIDs))
    }
    if c.repetitionPenalty != 1 { rules.append(RepetitionPenalty(c.repetitionPenalty, context)) }
    if c.frequencyPenalty != 0 || c.presencePenalty != 0 {
      rules.append(
        FrequencyPenalty(
          frequency: c.frequencyPenalty, presence: c.presencePenalty,
          promptLength: context.promptLength))
    }
    if c.noRepeatNGramSize > 0 { rules.append(NoRepeatNGram(c.noRepeatNGramSize)) }
    if let encoderIDs = context.encoderIDs, c.encoderNoRepeatNGramSize > 0 {
      rules.append(NoRepeatNGram(c.encoderNoRepeatNGramSize, of: encoderIDs))
    }
    let words = c.badWords.filter { $0.count != 1 || !c.endOfTextIDs.contains($0[0]) }
    if !words.isEmpty {
      rules.append(SequenceBias(words.map { .init(ids: $0, bias: -.infinity) }, context))
    }
    if !c.endOfTextIDs.isEmpty {
      let least = max(c.minimumLength, context.promptLength + c.minimumNewTokens)
      if least > context.promptLength { rules.append(MinimumLength(least, ends)) }
    }
    if let id = c.forcedFirstID { rules.append(ForcedFirstToken(context.mask(of: [id]))) }
    if !c.forcedLastIDs.isEmpty {
      rules.append(ForcedLastToken(context.mask(of: c.forcedLastIDs), context))
    }
    if c.removesInvalidValues { rules.append(InvalidValues()) }
    if let growth = c.endGrowth { rules.append(EndGrowth(growth, ends, context)) }
    if !c.suppressedIDs.isEmpty {
      rules.append(SuppressedTokens(context.mask(of: c.suppressedIDs)))
    }
    if !c.suppressedFirstIDs.isEmpty {
      let isForced = context.promptLength <= 1 && c.forcedFirstID != nil
      rules.append(
        SuppressedTokens(
          context.mask(of: c.suppressedFirstIDs),
          atLength: context.promptLength + (isForced ? 1 : 0)))
    }
    rules += more
    if c.samples { rules += Self.filters(c) }
    if c.renormalizes { rules.append(LogNormalization()) }
    self.init(rules)
  }

  /// The rules that only count when tokens are drawn.
  private static func filters(_ c: GenerationConfiguration) -> [any LogitsProcessor] {
    // Beams need more than one way to go on, whatever ends the text.
    let kept = c.beamCount > 1 ? max(2, 1 + c.endOfTextIDs.count) : 1
    var rules: [any LogitsProcessor] = []
    if c.temperature != 1 { rules.append(Temperature(c.temperature)) }
    if let share = c.topH { rules.append(TopH(share)) }
    if c.topK > 0 { rules.append(TopK(c.topK, keeping: kept)) }
    if c.topP < 1 { rules.append(TopP(c.topP, keeping: kept)) }
    if let share = c.minP { rules.append(MinP(share, keeping: kept)) }
    if c.typicalP < 1 { rules.append(TypicalP(c.typicalP, keeping: kept)) }
    if c.epsilonCutoff > 0 { rules.append(EpsilonCutoff(c.epsilonCutoff, keeping: kept)) }
    if c.etaCutoff > 0 { rules.append(EtaCutoff(c.etaCutoff, keeping: kept)) }
    return rules
  }
}
