import CommandLineParsing
import Datasets
import JSONValues
import Models
import Tokenizers

/// Options of decoding, shared by `generate` and `evaluate`.
enum SamplingOptions {
  static let maximumNewTokens = Option<Int>(
    "max-new-tokens", default: 128, group: "Sampling", help: "Most tokens to write.")
  static let sample = Flag(
    "sample", group: "Sampling", help: "Draw tokens; otherwise the best one is taken.")
  static let temperature = Option<Double>(
    "temperature", default: nil, group: "Sampling",
    help: "Divides scores before drawing; 0 takes the best. Implies --sample.")
  static let topK = Option<Int>(
    "top-k", default: nil, group: "Sampling",
    help: "Draw from so many best tokens, 0 for all (default 50). Implies --sample.")
  static let topP = Option<Double>(
    "top-p", default: nil, group: "Sampling",
    help: "Draw from the best tokens with this joint probability. Implies --sample.")
  static let seed = Option<Int>(
    "seed", default: 0, group: "Sampling", help: "Start of the random sequence.")

  static let all: [any OptionDeclaration] = [
    maximumNewTokens, sample, temperature, topK, topP, seed,
  ]

  static func configuration(_ arguments: ParsedArguments) throws -> SamplingConfiguration {
    let (warmth, k, p) = (arguments[temperature], arguments[topK], arguments[topP])
    if let warmth, warmth < 0 { throw UsageError("--temperature must not be negative") }
    if let k, k < 0 { throw UsageError("--top-k must not be negative") }
    if let p, !(p > 0 && p <= 1) { throw UsageError("--top-p must be above 0 and at most 1") }
    let draws = arguments[sample] || warmth != nil || k != nil || p != nil
    guard draws, warmth != 0 else { return .greedy }
    return SamplingConfiguration(
      temperature: warmth ?? 1, topK: k ?? 50, topP: p ?? 1,
      seed: UInt64(bitPattern: Int64(arguments[seed] ?? 0)))
  }
}

/// `graft generate`.
enum GenerateCommand: Verb {
  static let prompt = Option<String>("prompt", default: nil, help: "Text to continue.")
  static let chat = Option<String>(
    "chat", default: nil, help: "A user's message, put into the model's chat template.")
  static let prompts = Option<String>(
    "prompts", default: nil, help: "JSONL file with {\"prompt\"} rows.")
  static let promptStyle = Option<ExampleEncoder.PromptStyle>(
    "prompt-style", default: .plain, help: "How --prompts become text.")
  static let batchSize = Option<Int>(
    "batch-size", default: 1, help: "Rows of --prompts that are continued together.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "generate", summary: "Continue text or answer a message",
    options: [prompt, chat, prompts, promptStyle, batchSize, json] + SamplingOptions.all
      + ModelOptions.all)

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    let given = [arguments[prompt], arguments[chat], arguments[prompts]].compactMap { $0 }
    guard given.count == 1 else {
      throw UsageError("give one of --prompt, --chat and --prompts")
    }
    try arguments.require(ModelOptions.model)
    let sampling = try SamplingOptions.configuration(arguments)
    let source = try ModelSource(arguments)
    let tokenizer = try source.tokenizer()
    var texts: [String] = []
    if let path = arguments[prompts] {
      var reader = try RecordReader(path: path, allowsPromptOnly: true)
      texts = try reader.readAll().map { try PromptText.prompt(of: $0) }
    } else {
      texts = given
    }
    let style: ExampleEncoder.PromptStyle =
      arguments[chat] != nil ? .chat : arguments[promptStyle] ?? .plain
    let encoded = try texts.map { try PromptText.ids($0, style: style, tokenizer) }
    let (model, _) = try source.model(adapter: arguments[ModelOptions.adapter])
    let ends = source.endOfTextIDs(model.configuration)
    let streams = texts.count == 1 && !arguments[json]
    var decoder = tokenizer.streamingDecoder(skipSpecialTokens: true)
    var results: [[Int]] = []
    let size = max(1, arguments[batchSize] ?? 1)
    for start in stride(from: 0, to: encoded.count, by: size) {
      results += try model.generate(
        prompts: Array(encoded[start..<min(start + size, encoded.count)]),
        maximumNewTokens: arguments[SamplingOptions.maximumNewTokens] ?? 128, sampling: sampling,
        endOfTextIDs: ends
      ) { _, token in
        if streams { console.write(decoder.append(token)) }
        return true
      }
    }
    if streams {
      console.write(decoder.finish() + "\n")
      return .done
    }
    let rows = zip(texts, results).map { text, ids -> JSON in
      [
        "prompt": .string(text),
        "text": .string(tokenizer.decode(ids, skipSpecialTokens: true)),
        "ids": .array(ids.map(JSON.integer)),
      ]
    }
    if arguments[json] {
      console.write(["results": .array(rows)])
    } else {
      for row in rows { console.write(row) }
    }
    return .done
  }
}

/// Prompts as text and as ids.
enum PromptText {
  static func prompt(of located: LocatedRecord) throws -> String {
    switch located.record {
    case .prompt(let prompt), .promptCompletion(let prompt, _): return prompt
    case .text(let text): return text
    default:
      throw DatasetError.incompatibleFormat(
        at: located.location, expected: "a row with a prompt",
        actual: located.record.format.spelling)
    }
  }

  static func ids(
    _ text: String, style: ExampleEncoder.PromptStyle, _ tokenizer: Tokenizer
  ) throws -> [Int] {
    guard style == .chat else { return tokenizer.encode(text) }
    guard let source = tokenizer.chatTemplateSource else {
      throw UsageError("the model has no chat template")
    }
    let rendered = try ChatTemplate(source: source).render(
      messages: [["role": "user", "content": .string(text)]], addGenerationPrompt: true,
      specialTokens: tokenizer.specialTokens.map { ($0.name, $0.token) })
    return tokenizer.encode(rendered, addSpecialTokens: false)
  }
}
