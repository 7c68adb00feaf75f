import CommandLineParsing
import Datasets
import JSONValues
import Models
import Training

/// A class, several classes or numbers for a text or a pair of texts.
struct SequenceClassificationTask: HeadTask {
  static let task = ModelTask.sequenceClassification
  static let family = RecordFormat.Family.classification
  static let metrics = ["loss", "accuracy", "f1", "mse", "pearson"]

  private let setting: TaskSetting
  private let labels: ModelLabels
  private let encoder: ClassificationEncoder

  init(_ setting: TaskSetting, _ arguments: ParsedArguments) throws {
    self.setting = setting
    labels = setting.labels ?? ModelLabels(count: 2)
    encoder = try ClassificationEncoder(
      tokenizer: setting.tokenizer, maximumLength: setting.maximumLength,
      targets: Self.targets(labels), segmentCount: setting.segmentCount)
  }

  static func newLabels(
    of records: [LocatedRecord], _ arguments: ParsedArguments, _ path: String
  ) throws -> ModelLabels? {
    let problem = arguments[TaskOptions.problem] ?? problem(of: records)
    if problem == .regression {
      guard let first = records.first, case .labeled(_, _, let label) = first.record else {
        throw DatasetError.emptyData(path: path)
      }
      return ModelLabels(count: max(1, label.singles.count), problem: problem)
    }
    let names = try LabelSet(of: records).names
    guard names.count > 1 else {
      throw DatasetError.nothingToTrain(
        file: path, reason: "all rows have one label, \(names.first ?? "none")")
    }
    return ModelLabels(names: names, problem: problem)
  }

  static func completed(
    _ labels: ModelLabels, _ records: [LocatedRecord], _ arguments: ParsedArguments
  ) -> ModelLabels {
    var labels = labels
    labels.problem =
      arguments[TaskOptions.problem] ?? labels.problem
      ?? (labels.names.count == 1 ? .regression : problem(of: records))
    return labels
  }

  func encode(
    _ records: [LocatedRecord], file: String, isEvaluated: Bool
  ) throws -> TaskData {
    let (examples, report) = try encoder.encode(records, file: file)
    return TaskData(
      examples: examples, report: report,
      preview: { number in
        let label = Self.label(of: records[number])?.description
        return ExamplePreview(
          examples[number], of: records[number], setting.tokenizer, rowLabel: label ?? "",
          asked: { _ in nil })
      },
      measure: { model, batchSize, share in
        let (loss, scores, figures) = try model.results(
          of: examples, batchSize: batchSize, share: share)
        let each = zip(labels.names, figures.f1PerClass).map { ($0, JSON.number($1)) }
        return TaskResults(
          loss: loss, figures: figures.all,
          details: ["f1": ["f1_per_class": .object(JSONObject(each))]],
          samples: { count in zip(records, scores).prefix(count).map { sample($0, $1) } })
      })
  }

  /// How labels look: lists are several classes, numbers with a fraction are to be predicted.
  private static func problem(of records: [LocatedRecord]) -> ProblemType {
    let labels = records.compactMap(label)
    func isFractional(_ label: RecordLabel) -> Bool {
      if case .value = label { return true }
      return false
    }
    if labels.contains(where: { $0.singles.contains(where: isFractional) }) { return .regression }
    let hasLists = labels.contains { label in
      if case .several = label { return true }
      return false
    }
    return hasLists ? .multiLabel : .singleLabel
  }

  private static func label(of located: LocatedRecord) -> RecordLabel? {
    if case .labeled(_, _, let label) = located.record { return label }
    return nil
  }

  /// What an encoder makes of labels.
  private static func targets(_ labels: ModelLabels) -> ClassificationEncoder.Targets {
    switch labels.problem ?? .singleLabel {
    case .regression: .numbers(labels.names.count)
    case .singleLabel: .oneClass(LabelSet(names: labels.names))
    case .multiLabel: .severalClasses(LabelSet(names: labels.names))
    }
  }

  private func sample(_ located: LocatedRecord, _ scores: [Double]) -> JSON {
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
