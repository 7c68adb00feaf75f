import Adapters
import CommandLineParsing
import Datasets
import Foundation
import JSONValues
import Models
import Tokenizers
import Training

/// `graft evaluate`.
enum EvaluateCommand: Verb {
  static let data = Option<String>("data", default: nil, help: "JSONL file.")
  static let metrics = Option<String>(
    "metrics", default: "loss,perplexity",
    help:
      "Of loss, perplexity, exact-match; for a model with a head, where it is all that fit by "
      + "default, of \(HeadTasks.metrics.joined(separator: ", ")); with commas.")
  static let promptStyle = Option<ExampleEncoder.PromptStyle>(
    "prompt-style", default: .plain, help: "How prompts become text.")
  static let maximumLength = Option<Int>(
    "max-length", default: nil, help: "Most tokens of an example; default the model's limit.")
  static let batchSize = Option<Int>("batch-size", default: 8, help: "Rows of a batch.")
  static let trainOnPrompt = Flag("train-on-prompt", help: "Count prompts in the loss too.")
  static let samples = Option<Int>(
    "show", default: 0, help: "Answers to print with exact-match, or of a model with a head.")
  static let json = Flag("json", help: "Print one JSON object.")
  static let known = ["loss", "perplexity", "exact-match"]

  static let specification = CommandSpecification(
    name: "evaluate", summary: "Measure a model, with or without an adapter, on data",
    options: [
      data, metrics, promptStyle, maximumLength, Seq2SeqData.maximumTargetLength, batchSize,
      trainOnPrompt, samples, json, SamplingOptions.maximumNewTokens, TaskOptions.task,
      TaskOptions.problem, TrainOptions.seed,
    ] + DataOptions.templates + HeadTasks.options + ModelOptions.all)

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    try arguments.require(ModelOptions.model, data)
    let wanted = (arguments[metrics] ?? "").split(separator: ",").map(String.init)
    if wanted.contains("exact-match") { try checkTasks(arguments) }
    let source = try ModelSource(arguments)
    let adapter = try arguments.adapterDirectory()
    switch try TaskOptions.task(arguments, source.directory, adapter: adapter) {
    case .causalLM: break
    case .seq2seqLM:
      try checkMetrics(wanted)
      return try Seq2SeqEvaluation.run(arguments, source, wanted, console)
    case let task:
      return try TaskEvaluation.run(try HeadTasks.named(task), arguments, source, console)
    }
    try checkMetrics(wanted)
    let path = try arguments.value(data)
    let tokenizer = try source.tokenizer()
    var reader = try RecordReader(path: path)
    let records = try reader.readAll()
    let (model, peft) = try source.model(adapter: adapter)
    let style = arguments[promptStyle] ?? .plain
    let size = try SamplingOptions.count(arguments, batchSize, 1...1 << 24) ?? 8
    let limit = model.configuration.maximumLength - (model.prompt?.length ?? 0)
    let length = try SamplingOptions.count(arguments, maximumLength, 2...limit) ?? limit
    var result = JSONObject([("rows", .integer(records.count))])
    if wanted.contains("loss") || wanted.contains("perplexity") {
      let encoder = try ExampleEncoder(
        tokenizer: tokenizer,
        maximumLength: length,
        trainsOnPrompt: arguments[trainOnPrompt], promptStyle: style,
        chatTemplate: try DataOptions.template(arguments),
        chatTemplateName: arguments[TrainOptions.chatTemplateName])
      let (examples, report) = try encoder.encode(records, file: path)
      if report.truncatedCount > 0 || report.droppedCount > 0 { console.log("\(report)") }
      try source.check(examples, model.configuration)
      if let peft { try PromptChecks.checkTasks(examples, peft) }
      model.model.usesFusedLayers = true
      let loss = try meanLoss(model, examples, batchSize: size)
      if wanted.contains("loss") { result["loss"] = .number(loss) }
      if wanted.contains("perplexity") { result["perplexity"] = .number(exp(loss)) }
    }
    if wanted.contains("exact-match") {
      let answers = try answers(
        model, records, tokenizer, style, size, arguments, source.endOfTextIDs(model.configuration))
      let right = answers.count { $0.expected == $0.answer }
      result["exact_match"] = .number(Double(right) / Double(max(answers.count, 1)))
      if let count = arguments[samples], count > 0 {
        result["samples"] = .array(
          answers.prefix(count).map {
            [
              "prompt": .string($0.prompt), "expected": .string($0.expected),
              "answer": .string($0.answer),
            ]
          })
      }
    }
    if arguments[json] {
      console.write(.object(result))
    } else {
      for (name, value) in result { console.write("\(name): \(value.serialized())\n") }
    }
    return .done
  }

  /// Checks the names of what is to be measured of texts.
  private static func checkMetrics(_ wanted: [String]) throws {
    for name in wanted where !known.contains(name) {
      let near = nearestName(name, among: known).map { "; did you mean '\($0)'?" } ?? ""
      throw UsageError("unknown metric '\(name)'\(near) (\(known.joined(separator: ", ")))")
    }
    guard !wanted.isEmpty else { throw UsageError("--metrics names no metric") }
  }

  /// Refuses answers of an adapter that has to be told which of its tasks a row is, before anything
  /// is opened that takes time.
  private static func checkTasks(_ arguments: ParsedArguments) throws {
    guard let adapter = try arguments.adapterDirectory() else { return }
    let path = adapter + "/adapter_config.json"
    let configuration = try AdapterMethods.configuration(
      json: try JSON.read(path: path), path: path)
    if let count = configuration.tasks, count > 1 {
      throw UsageError("exact-match: the adapter has \(count) tasks; use loss or perplexity")
    }
  }

  private struct Answer {
    let prompt: String
    let expected: String
    let answer: String
  }

  /// Greedy answers beside the right ones, white space at the ends not counted.
  private static func answers(
    _ model: DecoderForCausalLM, _ records: [LocatedRecord], _ tokenizer: Tokenizer,
    _ style: ExampleEncoder.PromptStyle, _ size: Int, _ arguments: ParsedArguments,
    _ ends: Set<Int>
  ) throws -> [Answer] {
    let encoder = try ExampleEncoder(
      tokenizer: tokenizer,
      maximumLength: model.configuration.maximumLength - (model.prompt?.length ?? 0),
      promptStyle: style, chatTemplate: try DataOptions.template(arguments),
      chatTemplateName: arguments[TrainOptions.chatTemplateName])
    let pairs = try records.map { located in
      guard let answer = ExampleEncoder.answer(of: located.record) else {
        throw DatasetError.incompatibleFormat(
          at: located.location, expected: "a row with an answer, for exact-match",
          actual: located.record.format.spelling)
      }
      let ids = try encoder.promptIDs(of: located)
      do {
        try model.check(ids, room: 1)
      } catch {
        throw DatasetError.conversation(at: located.location, reason: "\(error)")
      }
      return (ids: ids, expected: answer)
    }
    var result: [Answer] = []
    for start in stride(from: 0, to: pairs.count, by: size) {
      let part = pairs[start..<min(start + size, pairs.count)]
      let ids = part.map(\.ids)
      let written = try model.generate(
        prompts: ids, maximumNewTokens: try SamplingOptions.newTokens(arguments),
        endOfTextIDs: ends)
      for (pair, answer) in zip(part, written) {
        result.append(
          Answer(
            prompt: tokenizer.decode(pair.ids, skipSpecialTokens: true),
            expected: pair.expected.trimmingCharacters(in: .whitespacesAndNewlines),
            answer: tokenizer.decode(answer, skipSpecialTokens: true)
              .trimmingCharacters(in: .whitespacesAndNewlines)))
      }
    }
    return result
  }
}
