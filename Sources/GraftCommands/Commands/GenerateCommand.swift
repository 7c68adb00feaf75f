import Adapters
import CommandLineParsing
import Datasets
import Foundation
import JSONValues
import Models
import Tensors
import Tokenizers

/// `graft generate`.
enum GenerateCommand: Verb {
  static let prompt = Option<String>(
    "prompt", default: nil,
    help: "Text to continue, or for an encoder to read; - reads it from standard input.")
  static let chat = Option<String>(
    "chat", default: nil,
    help: "A user's message, put into the model's chat template; - reads standard input.")
  static let system = Option<String>(
    "system-prompt", default: nil, help: "With --chat: what stands before the conversation.")
  static let prompts = Option<String>(
    "prompts", default: nil, help: "JSONL file with {\"prompt\"} or {\"source\"} rows.")
  static let promptStyle = Option<ExampleEncoder.PromptStyle>(
    "prompt-style", default: .plain, help: "How --prompts become text.")
  static let batchSize = Option<Int>(
    "batch-size", default: 1, help: "Rows of --prompts that are continued together.")
  static let sharePrefix = Flag(
    "share-prefix", help: "Compute what all --prompts begin with once.")
  static let task = Option<Int>(
    "task-id", default: nil, help: "Task of an adapter of several; default the first.")
  static let logProbabilities = Option<Int>(
    "logprobs", default: nil,
    help: "With --json: tokens' log-probabilities, and those of so many best ones at each place.",
    optionalValue: 0)
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "generate", summary: "Continue text or answer a message",
    options: [
      prompt, chat, system, prompts, promptStyle, batchSize, sharePrefix, task, logProbabilities,
      json,
    ] + DataOptions.templates + SamplingOptions.all + ModelOptions.all)

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    let given = [arguments[prompt], arguments[chat], arguments[prompts]].compactMap { $0 }
    guard given.count == 1 else {
      throw UsageError("give one of --prompt, --chat and --prompts")
    }
    if arguments[system] != nil, arguments[chat] == nil {
      throw UsageError("--system-prompt needs --chat")
    }
    if arguments[prompt] != nil, arguments[promptStyle] != .chat,
      arguments[TrainOptions.chatTemplate] != nil || arguments[TrainOptions.chatTemplateName] != nil
    {
      throw UsageError("a chat template is for --chat, --prompts or --prompt-style chat")
    }
    try arguments.require(ModelOptions.model)
    let alternatives = try SamplingOptions.count(arguments, logProbabilities, 0...1 << 20)
    if alternatives != nil, !arguments[json] { throw UsageError("--logprobs needs --json") }
    let source = try ModelSource(arguments)
    let tokenizer = try source.tokenizer()
    let configuration = try SamplingOptions.configuration(
      arguments, source.directory, tokenizer, console)
    let isSeq2Seq = try source.isSeq2Seq
    let (texts, encoded) =
      isSeq2Seq
      ? try sources(
        arguments, tokenizer,
        AutoModelForSeq2SeqLM.configuration(of: source.directory).maximumLength)
      : try encodedPrompts(
        arguments, tokenizer,
        AutoModelForCausalLM.configuration(of: source.directory).maximumLength)
    let size = try SamplingOptions.count(arguments, batchSize, 1...1 << 24) ?? 1
    let write =
      isSeq2Seq
      ? try seq2SeqWriter(arguments, source) : try writer(arguments, source, encoded, console)
    var generation = TextGeneration(
      configuration, stopStrings: SamplingOptions.stopStrings(configuration, tokenizer),
      alternativeCount: alternatives)
    let streams =
      texts.count == 1 && !arguments[json] && configuration.beamCount == 1
      && configuration.returnCount == 1
    let stops = arguments[SamplingOptions.trimStop] ? configuration.stopStrings : []
    var decoder = tokenizer.streamingDecoder(skipSpecialTokens: true)
    var trimmer = StopTrimmer(stops)
    var results: [[GeneratedText]] = []
    for start in stride(from: 0, to: encoded.count, by: size) {
      generation.firstRow = start * configuration.returnCount
      results += try write(
        Array(encoded[start..<min(start + size, encoded.count)]), generation
      ) { _, token in
        if streams { console.write(trimmer.append(decoder.append(token))) }
        return true
      }
    }
    if streams {
      console.write(trimmer.append(decoder.finish()) + trimmer.finish() + "\n")
      return .done
    }
    let rows = zip(texts, results).flatMap { prompt, written in
      written.enumerated().map { index, text in
        row(
          prompt, text, number: written.count > 1 ? index : nil, tokenizer, stops,
          wantsLogProbabilities: alternatives != nil)
      }
    }
    if arguments[json] {
      console.write(["results": .array(rows)])
    } else {
      for row in rows { console.write(row) }
    }
    return .done
  }

  /// Writes what follows prompts; the last argument is told of each token.
  private typealias Writer = (
    _ prompts: [[Int]], _ generation: TextGeneration, _ onToken: (_ row: Int, _ token: Int) -> Bool
  ) throws -> [[GeneratedText]]

  /// A decoder that continues prompts.
  private static func writer(
    _ arguments: ParsedArguments, _ source: ModelSource, _ encoded: [[Int]], _ console: Console
  ) throws -> Writer {
    let (model, peft) = try source.model(adapter: arguments[ModelOptions.adapter])
    try choose(arguments, peft, model.device)
    let prefix = arguments[sharePrefix] ? try model.sharedPrefix(of: encoded) : nil
    if arguments[sharePrefix], !model.canReusePrefixes {
      console.log("graft: --share-prefix: the adapter looks at rows as a whole; nothing is shared")
    }
    return {
      try model.generate($0, $1, prefix: encoded.count == 1 ? nil : prefix, onToken: $2)
    }
  }

  /// A model that reads prompts and writes other texts.
  private static func seq2SeqWriter(
    _ arguments: ParsedArguments, _ source: ModelSource
  ) throws -> Writer {
    if arguments[sharePrefix] {
      throw UsageError(
        "--share-prefix: an encoder reads each text as a whole; nothing can be shared")
    }
    let (model, peft) = try source.seq2seqModel(adapter: try arguments.adapterDirectory())
    try choose(arguments, peft, model.device)
    return { try model.generate($0, $1, onToken: $2) }
  }

  /// Lets an adapter of several tasks act for that of `--task-id`.
  private static func choose<Base>(
    _ arguments: ParsedArguments, _ peft: PeftModel<Base>?, _ device: Device
  ) throws {
    if let task = try SamplingOptions.count(arguments, task, 0...(peft?.taskCount ?? 1) - 1) {
      peft?.context.taskIDs = Tensor([task], shape: [1]).to(device: device)
    }
  }

  /// One text as JSON.
  private static func row(
    _ prompt: String, _ text: GeneratedText, number: Int?, _ tokenizer: Tokenizer,
    _ stops: [String], wantsLogProbabilities: Bool
  ) -> JSON {
    let written = tokenizer.decode(text.ids, skipSpecialTokens: true)
    var row = JSONObject([
      ("prompt", .string(prompt)), ("text", .string(StopTrimmer.trimmed(written, stops))),
      ("ids", .array(text.ids.map(JSON.integer))),
      ("finish_reason", .string(text.ending.rawValue)),
    ])
    if let number { row["sequence"] = .integer(number) }
    if let score = text.score { row["score"] = .number(score) }
    if wantsLogProbabilities {
      row["logprobs"] = .array(text.logProbabilities.map(JSON.number))
      if !text.alternatives.isEmpty {
        row["top_logprobs"] = .array(
          text.alternatives.map { choices in
            .array(
              choices.map { ["id": .integer($0.id), "logprob": .number($0.logProbability)] })
          })
      }
    }
    return .object(row)
  }

  /// The prompts as text and as ids.
  private static func encodedPrompts(
    _ arguments: ParsedArguments, _ tokenizer: Tokenizer, _ limit: Int
  ) throws -> ([String], [[Int]]) {
    let isChat = arguments[chat] != nil
    let text = try (arguments[prompt] ?? arguments[chat]).map(read) ?? ""
    if arguments[prompt] != nil, arguments[promptStyle] != .chat {
      return ([text], [tokenizer.encode(text)])
    }
    let encoder = try ExampleEncoder(
      tokenizer: tokenizer, maximumLength: max(2, limit),
      promptStyle: isChat ? .chat : arguments[promptStyle] ?? .plain,
      chatTemplate: try DataOptions.template(arguments),
      chatTemplateName: arguments[TrainOptions.chatTemplateName])
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
    let place = RecordLocation(file: isChat ? "--chat" : "--prompt", line: 1)
    var record = DatasetRecord.prompt(text)
    if let system = arguments[system] {
      record = .messages(
        [
          ["role": "system", "content": .string(system)],
          ["role": "user", "content": .string(text)],
        ], tools: nil)
    }
    return ([text], [try encoder.promptIDs(of: LocatedRecord(record, at: place))])
  }

  /// What an encoder reads, as text and as ids.
  private static func sources(
    _ arguments: ParsedArguments, _ tokenizer: Tokenizer, _ limit: Int?
  ) throws -> ([String], [[Int]]) {
    guard arguments[chat] == nil, arguments[promptStyle] != .chat else {
      throw UsageError(
        "the model reads one text and writes another: it has no conversations; use --prompt or "
          + "--prompts without --prompt-style chat")
    }
    let encoder = try Seq2SeqEncoder(tokenizer: tokenizer, maximumLength: 1 << 30)
    func checked(_ records: [LocatedRecord]) throws -> ([String], [[Int]]) {
      let ids = try records.map { try encoder.sourceIDs(of: $0) }
      for (located, ids) in zip(records, ids) where ids.count > limit ?? .max {
        throw DatasetError.conversation(
          at: located.location,
          reason: "\(ids.count) tokens are more than the model's limit of \(limit ?? 0)")
      }
      return (try records.map { try Seq2SeqEncoder.texts(of: $0).source }, ids)
    }
    if let path = arguments[prompts] {
      var reader = try RecordReader(path: path, allowsPromptOnly: true)
      return try checked(reader.readAll())
    }
    let text = try arguments[prompt].map(read) ?? ""
    return try checked([
      LocatedRecord(.prompt(text), at: RecordLocation(file: "--prompt", line: 1))
    ])
  }

  /// A text that an option says, or all of standard input.
  private static func read(_ text: String) throws -> String {
    guard text == "-" else { return text }
    let bytes = try FileHandle.standardInput.readToEnd() ?? Data()
    return String(decoding: bytes, as: UTF8.self)
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
