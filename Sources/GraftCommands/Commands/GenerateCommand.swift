import Adapters
import CommandLineParsing
import Datasets
import JSONValues
import Models
import Tensors
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
  static let task = Option<Int>(
    "task-id", default: nil, help: "Task of an adapter of several; default the first.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "generate", summary: "Continue text or answer a message",
    options: [prompt, chat, prompts, promptStyle, batchSize, task, json] + SamplingOptions.all
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
    let limit = try AutoModelForCausalLM.configuration(of: source.directory).maximumLength
    let (texts, encoded) = try encodedPrompts(arguments, tokenizer, limit)
    let newTokens = try SamplingOptions.newTokens(arguments)
    let size = try SamplingOptions.count(arguments, batchSize, 1...1 << 24) ?? 1
    let (model, peft) = try source.model(adapter: arguments[ModelOptions.adapter])
    if let task = try SamplingOptions.count(arguments, task, 0...(peft?.taskCount ?? 1) - 1) {
      peft?.context.taskIDs = Tensor([task], shape: [1]).to(device: model.device)
    }
    let ends = source.endOfTextIDs(model.configuration)
    let streams = texts.count == 1 && !arguments[json]
    var decoder = tokenizer.streamingDecoder(skipSpecialTokens: true)
    var results: [[Int]] = []
    for start in stride(from: 0, to: encoded.count, by: size) {
      results += try model.generate(
        prompts: Array(encoded[start..<min(start + size, encoded.count)]),
        maximumNewTokens: newTokens, sampling: sampling, endOfTextIDs: ends, firstRow: start
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

  /// The prompts as text and as ids.
  private static func encodedPrompts(
    _ arguments: ParsedArguments, _ tokenizer: Tokenizer, _ limit: Int
  ) throws -> ([String], [[Int]]) {
    let isChat = arguments[chat] != nil
    if let text = arguments[prompt], arguments[promptStyle] != .chat {
      return ([text], [tokenizer.encode(text)])
    }
    let encoder = try ExampleEncoder(
      tokenizer: tokenizer, maximumLength: max(2, limit),
      promptStyle: isChat ? .chat : arguments[promptStyle] ?? .plain)
    if let path = arguments[prompts] {
      var reader = try RecordReader(path: path, allowsPromptOnly: true)
      let records = try reader.readAll()
      let ids = try records.map { try encoder.promptIDs(of: $0) }
      for (located, ids) in zip(records, ids) where ids.count >= limit {
        throw DatasetError.conversation(
          at: located.location,
          reason: "\(ids.count) tokens leave no room below the model's limit of \(limit)")
      }
      return (zip(records, ids).map { question(of: $0.record, ids: $1, tokenizer) }, ids)
    }
    let text = arguments[prompt] ?? arguments[chat] ?? ""
    let place = RecordLocation(file: isChat ? "--chat" : "--prompt", line: 1)
    return ([text], [try encoder.promptIDs(of: LocatedRecord(.prompt(text), at: place))])
  }

  /// What a record asks, as it stands in the file where that is one text.
  private static func question(
    of record: DatasetRecord, ids: [Int], _ tokenizer: Tokenizer
  ) -> String {
    switch record {
    case .prompt(let prompt), .promptCompletion(let prompt, _): prompt
    case .text(let text): text
    default: tokenizer.decode(ids)
    }
  }
}
