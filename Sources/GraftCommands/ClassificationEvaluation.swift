import Adapters
import CommandLineParsing
import Datasets
import JSONValues
import Models
import Training

/// `graft evaluate` of a model that classifies rows.
enum ClassificationEvaluation {
  /// Figures that ``ClassificationFigures`` knows.
  static let known = ["loss", "accuracy", "f1", "mse", "pearson"]

  static func run(
    _ arguments: ParsedArguments, _ source: ModelSource, _ console: Console
  ) throws -> ExitCode {
    let path = try arguments.value(EvaluateCommand.data)
    var reader = try RecordReader(path: path, family: .classification)
    let records = try reader.readAll()
    let adapter = try arguments.adapterDirectory()
    let (model, _) = try source.model(for: .sequenceClassification, adapter: adapter)
    var labels = model.labels ?? ModelLabels(count: 2)
    labels.problem =
      labels.problem
      ?? (labels.names.count == 1 ? .regression : ClassificationData.problem(of: records))
    let limit = model.maximumLength
    let length = try SamplingOptions.count(arguments, EvaluateCommand.maximumLength, 2...limit)
    let size = try SamplingOptions.count(arguments, EvaluateCommand.batchSize, 1...1 << 24) ?? 8
    let encoder = try ClassificationEncoder(
      tokenizer: try source.tokenizer(), maximumLength: length ?? limit,
      targets: ClassificationData.targets(labels), segmentCount: model.tokenTypeCount)
    let (examples, report) = try encoder.encode(records, file: path)
    if report.truncatedCount > 0 { console.log("\(report)") }
    try source.check(examples, vocabularySize: model.vocabularySize)

    let (loss, scores, figures) = model.results(of: examples, batchSize: size)
    var found = Dictionary(uniqueKeysWithValues: figures.all.map { ($0.name, $0.value) })
    found["loss"] = loss
    var result = JSONObject([("rows", .integer(records.count))])
    for name in try wanted(arguments, found) {
      result[name] = found[name].map(JSON.number) ?? .null
      if name == "f1", arguments[EvaluateCommand.json] {
        result["f1_per_class"] = .object(
          JSONObject(zip(labels.names, figures.f1PerClass).map { ($0, .number($1)) }))
      }
    }
    if let count = arguments[EvaluateCommand.samples], count > 0 {
      result["samples"] = .array(
        zip(records, scores).prefix(count).map { sample($0, $1, labels) })
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
    _ arguments: ParsedArguments, _ found: [String: Double]
  ) throws -> [String] {
    let all = known.filter { found[$0] != nil }
    guard arguments.isGiven("metrics") else { return all }
    let names = (arguments[EvaluateCommand.metrics] ?? "").split(separator: ",").map(String.init)
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

  private static func sample(
    _ located: LocatedRecord, _ scores: [Double], _ labels: ModelLabels
  ) -> JSON {
    guard case .labeled(let text, _, let label) = located.record else { return .null }
    let answer: JSON
    switch labels.problem ?? .singleLabel {
    case .regression: answer = .array(scores.map(JSON.number))
    case .multiLabel:
      answer = .array(zip(labels.names, scores).filter { $1 > 0 }.map { .string($0.0) })
    case .singleLabel:
      let best = scores.indices.max { scores[$0] < scores[$1] } ?? 0
      answer = .string(labels.names[best])
    }
    return ["text": .string(text), "expected": .string(label.description), "answer": answer]
  }
}
