import Adapters
import CommandLineParsing
import Datasets
import Foundation
import JSONValues
import Models
import Tokenizers
import Training

/// `graft evaluate` of a model that reads one text and writes another.
enum Seq2SeqEvaluation {
  static func run(
    _ arguments: ParsedArguments, _ source: ModelSource, _ wanted: [String], _ console: Console
  ) throws -> ExitCode {
    if arguments[EvaluateCommand.promptStyle] == .chat || arguments[EvaluateCommand.trainOnPrompt] {
      throw UsageError(
        "--prompt-style and --train-on-prompt: --task \(ModelTask.seq2seqLM.rawValue) has no prompts"
      )
    }
    let path = try arguments.value(EvaluateCommand.data)
    var reader = try RecordReader(path: path)
    let records = try reader.readAll()
    let tokenizer = try source.tokenizer()
    let shape = try AutoModelForSeq2SeqLM.configuration(of: source.directory)
    let limit = shape.maximumLength ?? .max
    func length(_ option: Option<Int>) throws -> Int? {
      try SamplingOptions.count(arguments, option, 2...limit)
    }
    let read = try length(EvaluateCommand.maximumLength) ?? limit
    let encoder = try Seq2SeqEncoder(
      tokenizer: tokenizer, maximumLength: read,
      maximumTargetLength: try length(Seq2SeqData.maximumTargetLength) ?? read)
    let size = try SamplingOptions.count(arguments, EvaluateCommand.batchSize, 1...1 << 24) ?? 8
    let (examples, report) = try encoder.encode(records, file: path)
    if report.truncatedCount > 0 { console.log("\(report)") }
    try source.check(examples, vocabularySize: shape.vocabularySize)

    let (model, peft) = try source.seq2seqModel(adapter: try arguments.adapterDirectory())
    var result = JSONObject([("rows", .integer(records.count))])
    if wanted.contains("loss") || wanted.contains("perplexity") {
      if let peft { try PromptChecks.checkTasks(examples, peft) }
      let loss = try meanLoss(model, examples, batchSize: size)
      if wanted.contains("loss") { result["loss"] = .number(loss) }
      if wanted.contains("perplexity") { result["perplexity"] = .number(exp(loss)) }
    }
    if wanted.contains("exact-match") {
      let configuration = try configuration(arguments, source.directory)
      var answers: [String] = []
      for start in stride(from: 0, to: examples.count, by: size) {
        let ids = examples[start..<min(start + size, examples.count)].map { $0.ids.map { Int($0) } }
        answers += try model.generate(ids, TextGeneration(configuration)).map {
          tokenizer.decode($0[0].ids, skipSpecialTokens: true)
        }
      }
      let rows = try zip(records, answers).map { record, answer in
        let (source, target) = try Seq2SeqEncoder.texts(of: record)
        return (source: source, expected: trimmed(target ?? ""), answer: trimmed(answer))
      }
      let right = rows.count { $0.expected == $0.answer }
      result["exact_match"] = .number(Double(right) / Double(max(rows.count, 1)))
      if let count = arguments[EvaluateCommand.samples], count > 0 {
        result["samples"] = .array(
          rows.prefix(count).map {
            [
              "source": .string($0.source), "expected": .string($0.expected),
              "answer": .string($0.answer),
            ]
          })
      }
    }
    if arguments[EvaluateCommand.json] {
      console.write(.object(result))
    } else {
      for (name, value) in result { console.write("\(name): \(value.serialized())\n") }
    }
    return .done
  }

  /// How `graft generate` would write, but without drawing and one text for each row.
  private static func configuration(
    _ arguments: ParsedArguments, _ directory: String
  ) throws -> GenerationConfiguration {
    var c = try GenerationConfiguration.fromPretrained(directory).configuration
    (c.samples, c.returnCount) = (false, 1)
    if arguments.isGiven(SamplingOptions.maximumNewTokens.name)
      || (c.maximumNewTokens == nil && c.maximumLength == nil)
    {
      c.maximumNewTokens = try SamplingOptions.newTokens(arguments)
    }
    return c
  }

  private static func trimmed(_ text: String) -> String {
    text.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
