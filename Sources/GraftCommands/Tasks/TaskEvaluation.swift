import Adapters
import CommandLineParsing
import Datasets
import JSONValues
import Models
import Training

/// `graft evaluate` of a model with the head of a task.
enum TaskEvaluation {
  static func run(
    _ kind: any HeadTask.Type, _ arguments: ParsedArguments, _ source: ModelSource,
    _ console: Console
  ) throws -> ExitCode {
    let path = try arguments.value(EvaluateCommand.data)
    let records = try kind.read(path)
    let adapter = try arguments.adapterDirectory()
    let (model, _) = try source.model(for: kind.task, adapter: adapter)
    let limit = model.rowLimit
    let length = try SamplingOptions.count(arguments, EvaluateCommand.maximumLength, 2...limit)
    let size = try SamplingOptions.count(arguments, EvaluateCommand.batchSize, 1...1 << 24) ?? 8
    let labels = model.labels.map { kind.completed($0, records, arguments) }
    let task = try kind.init(
      TaskSetting(
        tokenizer: try source.tokenizer(), maximumLength: length ?? limit,
        segmentCount: model.tokenTypeCount, vocabularySize: model.vocabularySize, labels: labels,
        seed: UInt64(bitPattern: Int64(try arguments.value(TrainOptions.seed)))), arguments)
    let data = try task.encode(records, file: path, isEvaluated: true)
    if data.report.truncatedCount > 0 { console.log("\(data.report)") }
    try source.check(data.examples, vocabularySize: model.vocabularySize)

    let results = try data.measure(model, size, EvaluationShare())
    let found = Dictionary(uniqueKeysWithValues: results.all.map { ($0.name, $0.value) })
    var result = JSONObject([("rows", .integer(records.count))])
    for name in try wanted(kind, arguments, found) {
      result[name] = found[name].map(JSON.number) ?? .null
      guard arguments[EvaluateCommand.json], let more = results.details[name]?.objectValue else {
        continue
      }
      for (key, value) in more { result[key] = value }
    }
    if let count = arguments[EvaluateCommand.samples], count > 0 {
      result["samples"] = .array(results.samples(count))
    }
    if arguments[EvaluateCommand.json] {
      console.write(.object(result))
    } else {
      for (name, value) in result { console.write("\(name): \(value.serialized())\n") }
    }
    return .done
  }

  /// The figures that were asked for, or all that there are.
  private static func wanted(
    _ kind: any HeadTask.Type, _ arguments: ParsedArguments, _ found: [String: Double]
  ) throws -> [String] {
    let all = kind.metrics.filter { found[$0] != nil }
    guard arguments.isGiven("metrics") else { return all }
    // Options are written with dashes, figures with underscores.
    let names = (arguments[EvaluateCommand.metrics] ?? "").split(separator: ",")
      .map { String($0.map { $0 == "-" ? "_" : $0 }) }
    guard !names.isEmpty else { throw UsageError("--metrics names no metric") }
    for name in names where !all.contains(name) {
      // A correlation with what is constant is not there.
      if name == "pearson", found["mse"] != nil { continue }
      let near = nearestName(name, among: all).map { "; did you mean '\($0)'?" } ?? ""
      throw UsageError(
        "metric '\(name)' does not fit these labels\(near) (\(all.joined(separator: ", ")))")
    }
    return names
  }
}
