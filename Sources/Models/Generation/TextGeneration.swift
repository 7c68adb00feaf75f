import Tensors

/// Continues texts by scores that a state gives: what any model's `generate` does.
public struct TextGeneration {
  /// Lengths, choice of tokens, rules for their scores.
  public var configuration: GenerationConfiguration
  /// More rules, applied behind the configuration's and before those that only count when tokens are
  /// drawn.
  public var moreRules: [any LogitsProcessor] = []
  /// What ends a row besides tokens; nil for nothing.
  public var stopStrings: StopStrings?
  /// How many alternatives to each token are returned with logarithms of probabilities; nil for no
  /// logarithms.
  public var alternativeCount: Int?
  /// Number of the first row among all that are sampled with one seed: each row has a random sequence
  /// of its own, whatever batch it is in.
  public var firstRow = 0
  private var began = ContinuousClock.now

  /// Makes a generation.
  ///
  /// - Parameters:
  ///   - configuration: Lengths, choice of tokens, rules for their scores.
  ///   - stopStrings: What ends a row besides tokens.
  ///   - alternativeCount: Alternatives to each token that are returned; nil for none and no logarithms
  ///     of probabilities either.
  ///   - firstRow: Number of the first row among all that are sampled with one seed.
  public init(
    _ configuration: GenerationConfiguration, stopStrings: StopStrings? = nil,
    alternativeCount: Int? = nil, firstRow: Int = 0
  ) {
    self.configuration = configuration
    self.stopStrings = stopStrings
    self.alternativeCount = alternativeCount
    self.firstRow = firstRow
  }

  /// Continues texts.
  ///
  /// - Parameters:
  ///   - input: What is there already.
  ///   - state: A state that has not read anything.
  ///   - onToken: Called with row and token as soon as each is known, where there are no beams; return
  ///     false to stop all.
  /// - Returns: For each prompt the texts that the configuration asks for.
  /// - Throws: ``ModelError`` when settings exclude each other or do not fit the vocabulary, when no
  ///   token is allowed, or when the model's scores are not numbers.
  public func run(
    _ input: GenerationInput, _ state: any DecodingState,
    onToken: (_ row: Int, _ token: Int) -> Bool = { _, _ in true }
  ) throws(ModelError) -> [[GeneratedText]] {
    try configuration.validate()
    try configuration.checkIDs(vocabularySize: state.vocabularySize)
    guard !input.room.isEmpty else { return [] }
    var timed = self
    timed.began = .now
    let (generation, c) = (timed, configuration)
    let result: Result<[[GeneratedText]], ModelError> = withoutGradients {
      do throws(ModelError) {
        return .success(
          c.beamCount > 1
            ? try BeamSearch(generation, input, state).run()
            : try TokenSearch(generation, input, state).run(onToken))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// Whether the time that was given is over.
  var isLate: Bool {
    guard let seconds = configuration.maximumSeconds else { return false }
    return (ContinuousClock.now - began) / .seconds(1) > seconds
  }

  /// The rules for rows.
  func rules(_ context: ProcessorContext) -> LogitsProcessors {
    LogitsProcessors(configuration, context, more: moreRules)
  }

  /// The random sequence of a row.
  func generator(row: Int, _ device: Device) -> Generator {
    // Steps of the golden ratio's bits keep the seeds of neighbouring rows far apart.
    let number = UInt64(firstRow + row)
    return Generator(
      seed: configuration.seed &+ number &* 0x9E37_79B9_7F4A_7C15, device: device)
  }

  /// Why a text ends with its newest token, or nil when it goes on.
  func ending(
    of ids: [Int], behind prompt: [Int], room: Int, isLate: Bool
  ) -> GeneratedText.Ending? {
    guard let last = ids.last else { return nil }
    if configuration.endOfTextIDs.contains(last) { return .endOfText }
    if let stopStrings, stopStrings.end(in: ids, behind: prompt) { return .stopString }
    if ids.count >= room { return .length }
    return isLate ? .stopped : nil
  }
}

/// Logarithms of the probabilities that a model gives tokens.
struct TokenProbabilities {
  private let logarithms: Tensor
  private let alternatives: [[GeneratedText.Choice]]

  /// - Parameters:
  ///   - scores: `[rows, vocabulary]`, before any rule.
  ///   - count: Alternatives for each row.
  init(_ scores: Tensor, alternatives count: Int) {
    logarithms = scores.logSoftmax()
    let rows = scores.size(0)
    guard count > 0 else {
      alternatives = Array(repeating: [], count: rows)
      return
    }
    let kept = min(count, scores.size(1))
    let (values, places) = logarithms.largest(kept)
    let pairs = zip(places.array(of: Int.self), values.array(of: Double.self)).map {
      GeneratedText.Choice(id: $0, logProbability: $1)
    }
    alternatives = (0..<rows).map { Array(pairs[$0 * kept..<($0 + 1) * kept]) }
  }

  /// Adds what belongs to a token to its text; `rows` says which row of scores each was chosen from.
  func note(_ tokens: [Int], rows: [Int], in texts: inout [GeneratedText]) {
    guard !tokens.isEmpty else { return }
    let device = logarithms.device
    let chosen = logarithms.selecting(0, Tensor(rows).to(device: device))
      .gathered(1, Tensor(tokens, shape: [tokens.count, 1]).to(device: device))
    for (index, value) in chosen.array(of: Double.self).enumerated() {
      texts[index].logProbabilities.append(value)
      if !alternatives[rows[index]].isEmpty {
        texts[index].alternatives.append(alternatives[rows[index]])
      }
    }
  }
}
