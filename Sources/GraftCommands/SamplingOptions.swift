import CommandLineParsing
import Foundation
import JSONValues
import Models
import Tokenizers

/// Options of generation, shared by `generate` and `chat`.
///
/// Where a setting of `generation_config.json` has an option, it is the setting's name with dashes.
enum SamplingOptions {
  static let maximumNewTokens = Option<Int>(
    "max-new-tokens", default: 128, group: "Length", help: "Most tokens to write.")
  static let minimumNewTokens = Option<Int>(
    "min-new-tokens", default: nil, group: "Length", help: "Least tokens to write.")
  static let maximumTime = Option<Double>(
    "max-time", default: nil, group: "Length", help: "Stop after so many seconds.")
  static let stop = Option<String>(
    "stop", default: nil, group: "Length",
    help: "Stop where this text is written; may be given more than once.", isRepeated: true)
  static let trimStop = Flag(
    "trim-stop", group: "Length", help: "Leave the text that stopped out of the result.")
  static let endOfText = Option<String>(
    "eos-token-id", default: nil, group: "Length",
    help: "Ids of tokens that end a text, with commas; default the model's.")

  static let sample = Flag(
    "sample", group: "Sampling",
    help: "Draw tokens; otherwise the best one is taken. Default as generation_config.json says.")
  static let temperature = Option<Double>(
    "temperature", default: nil, group: "Sampling",
    help: "Divides scores before drawing; 0 takes the best. Implies --sample.")
  static let topK = Option<Int>(
    "top-k", default: nil, group: "Sampling",
    help: "Draw from so many best tokens, 0 for all (default 50). Implies --sample.")
  static let topP = Option<Double>(
    "top-p", default: nil, group: "Sampling",
    help: "Draw from the best tokens with this joint probability. Implies --sample.")
  static let minP = Option<Double>(
    "min-p", default: nil, group: "Sampling",
    help: "Draw from tokens with this share of the best one's probability. Implies --sample.")
  static let typicalP = Option<Double>(
    "typical-p", default: nil, group: "Sampling",
    help: "Draw from the most typical tokens with this joint probability. Implies --sample.")
  static let topH = Option<Double>(
    "top-h", default: nil, group: "Sampling",
    help: "Draw from the best tokens with this share of the entropy. Implies --sample.")
  static let epsilonCutoff = Option<Double>(
    "epsilon-cutoff", default: nil, group: "Sampling",
    help: "Draw from tokens with at least this probability. Implies --sample.")
  static let etaCutoff = Option<Double>(
    "eta-cutoff", default: nil, group: "Sampling",
    help: "The same, less where many tokens are likely. Implies --sample.")
  static let seed = Option<Int>(
    "seed", default: 0, group: "Sampling", help: "Start of the random sequence.")

  static let beams = Option<Int>(
    "num-beams", default: nil, group: "Beams", help: "Texts that are followed at once.")
  static let returned = Option<Int>(
    "num-return-sequences", default: nil, group: "Beams", help: "Texts to write for each prompt.")
  static let lengthPenalty = Option<Double>(
    "length-penalty", default: nil, group: "Beams",
    help: "Power of the length by which scores are divided (default 1).")
  static let earlyStopping = Option<EarlyStoppingChoice>(
    "early-stopping", default: nil, group: "Beams",
    help: "Stop when enough texts ended, by a guess (default), or never before it is sure.")

  static let repetitionPenalty = Option<Double>(
    "repetition-penalty", default: nil, group: "Rules",
    help: "Above 1: divides scores of tokens that are there.")
  static let frequencyPenalty = Option<Double>(
    "frequency-penalty", default: nil, group: "Rules",
    help: "Taken off a token's score for each time it was written.")
  static let presencePenalty = Option<Double>(
    "presence-penalty", default: nil, group: "Rules",
    help: "Taken off a token's score once it was written.")
  static let noRepeat = Option<Int>(
    "no-repeat-ngram-size", default: nil, group: "Rules",
    help: "So many tokens in a row may occur once only.")
  static let badWord = Option<String>(
    "bad-word", default: nil, group: "Rules",
    help: "Text that must not be written; may be given more than once.", isRepeated: true)
  static let suppressed = Option<String>(
    "suppress-tokens", default: nil, group: "Rules",
    help: "Ids of tokens that must not be written, with commas.")
  static let forcedFirst = Option<Int>(
    "forced-bos-token-id", default: nil, group: "Rules",
    help: "Id of the token behind a first one that stands alone.")
  static let forcedLast = Option<String>(
    "forced-eos-token-id", default: nil, group: "Rules",
    help: "Ids of tokens of which one comes at the greatest length.")
  static let file = Option<String>(
    "generation-config", default: nil, group: "Rules",
    help: "JSON file of more settings, by the names of generation_config.json.")

  /// What takes the best of what is drawn away; they imply drawing.
  private static let filters: [any OptionDeclaration] = [
    temperature, topK, topP, minP, typicalP, topH, epsilonCutoff, etaCutoff,
  ]

  static let all: [any OptionDeclaration] =
    [maximumNewTokens, minimumNewTokens, maximumTime, stop, trimStop, endOfText, sample] + filters
    + [
      seed, beams, returned, lengthPenalty, earlyStopping, repetitionPenalty, frequencyPenalty,
      presencePenalty, noRepeat, badWord, suppressed, forcedFirst, forcedLast, file,
    ]

  /// A whole number in a range.
  static func count(
    _ arguments: ParsedArguments, _ option: Option<Int>, _ range: ClosedRange<Int>
  ) throws -> Int? {
    guard let value = arguments[option] else { return nil }
    guard range.contains(value) else {
      throw UsageError(
        "--\(option.name) is \(value), expected \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  /// How many tokens may be written.
  static func newTokens(_ arguments: ParsedArguments) throws -> Int {
    try count(arguments, maximumNewTokens, 1...1 << 30) ?? 128
  }

  /// What the model's files and the options say.
  ///
  /// Options win over `--generation-config`, which wins over the model's files.
  static func configuration(
    _ arguments: ParsedArguments, _ directory: String, _ tokenizer: Tokenizer, _ console: Console
  ) throws -> GenerationConfiguration {
    let found = try GenerationConfiguration.fromPretrained(directory)
    var c = found.configuration
    func tell(_ names: [String], _ path: String) {
      for name in names {
        console.log("graft: \(path): \(name) is not a setting that is followed here")
      }
    }
    tell(found.unfollowed, directory + "/generation_config.json")
    let modelDraws = c.samples
    if let path = arguments[file] { tell(try c.take(try JSON.read(path: path), path: path), path) }
    try take(arguments, tokenizer, &c)
    if arguments.isGiven(maximumNewTokens.name)
      || (c.maximumNewTokens == nil && c.maximumLength == nil)
    {
      c.maximumNewTokens = try newTokens(arguments)
    }
    if arguments.isGiven(sample.name) {
      c.samples = arguments[sample]
    } else if filters.contains(where: { arguments.isGiven($0.details.name) }) {
      c.samples = true
    }
    if c.temperature == 0 { (c.samples, c.temperature) = (false, 1) }
    if modelDraws, c.samples, !arguments.isGiven(sample.name) {
      console.log("graft: tokens are drawn, as the model's files say; --no-sample takes the best")
    }
    c.seed = UInt64(bitPattern: Int64(arguments[seed] ?? 0))
    do {
      try c.validate()
    } catch { throw usage(error) }
    return c
  }

  /// What ends texts besides tokens.
  static func stopStrings(
    _ c: GenerationConfiguration, _ tokenizer: Tokenizer
  ) -> StopStrings? {
    c.stopStrings.isEmpty ? nil : StopStrings(c.stopStrings) { tokenizer.bytes(of: $0) }
  }

  /// Takes over options that are settings.
  private static func take(
    _ arguments: ParsedArguments, _ tokenizer: Tokenizer, _ c: inout GenerationConfiguration
  ) throws {
    var settings = JSONObject()
    func key(_ name: String) -> String { name.replacing("-", with: "_") }
    for option in [
      temperature, topP, minP, typicalP, topH, epsilonCutoff, etaCutoff, maximumTime, lengthPenalty,
      repetitionPenalty, frequencyPenalty, presencePenalty,
    ] {
      if let value = arguments[option] { settings[key(option.name)] = .number(value) }
    }
    for option in [topK, minimumNewTokens, beams, returned, noRepeat, forcedFirst] {
      if let value = arguments[option] { settings[key(option.name)] = .integer(value) }
    }
    for option in [suppressed, forcedLast, endOfText] {
      if let text = arguments[option] { settings[key(option.name)] = try ids(text, option.name) }
    }
    if let choice = arguments[earlyStopping] { settings["early_stopping"] = choice.json }
    let stops = arguments.values(stop)
    guard !stops.contains("") else { throw UsageError("--stop must not be empty") }
    if !stops.isEmpty { settings["stop_strings"] = .array(stops.map(JSON.string)) }
    do {
      _ = try c.take(.object(settings), path: "options")
    } catch { throw usage(error) }
    for word in arguments.values(badWord) {
      // Words within a text begin with a space.
      for text in [word, " " + word] {
        let ids = tokenizer.encode(text, addSpecialTokens: false)
        guard !ids.isEmpty else { throw UsageError("--bad-word \"\(word)\" has no tokens") }
        if !c.badWords.contains(ids) { c.badWords.append(ids) }
      }
    }
  }

  private static func ids(_ text: String, _ name: String) throws -> JSON {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false)
    let ids = parts.compactMap { Int($0.trimmingCharacters(in: .whitespaces)) }
    guard ids.count == parts.count, ids.allSatisfy({ $0 >= 0 }) else {
      throw UsageError("--\(name) is \"\(text)\", expected token ids with commas")
    }
    return .array(ids.map(JSON.integer))
  }

  /// A setting's error in the words of options.
  private static func usage(_ error: ModelError) -> any Error {
    guard case .configuration(_, let key, let expected, let actual) = error else { return error }
    let name = key == "stop_strings" ? "stop" : key.replacing("_", with: "-")
    return UsageError("--\(name) is \(actual), expected \(expected)")
  }
}

/// `--early-stopping`.
enum EarlyStoppingChoice: String, CaseIterable, OptionValue {
  case `true`
  case `false`
  case never

  var json: JSON {
    switch self {
    case .true: true
    case .false: false
    case .never: "never"
    }
  }
}
