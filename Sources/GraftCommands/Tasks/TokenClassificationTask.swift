import CommandLineParsing
import Datasets
import JSONValues
import Models
import Training

/// A class for each word of a text.
struct TokenClassificationTask: HeadTask {
  static let task = ModelTask.tokenClassification
  static let family = RecordFormat.Family.tokenClassification
  static let metrics = ["loss", "accuracy", "precision", "recall", "f1"]

  private let setting: TaskSetting
  private let names: [String]
  private let encoder: TokenClassificationEncoder

  init(_ setting: TaskSetting, _ arguments: ParsedArguments) throws {
    self.setting = setting
    names = (setting.labels ?? ModelLabels(count: 2)).names
    encoder = try TokenClassificationEncoder(
      tokenizer: setting.tokenizer, maximumLength: setting.maximumLength,
      labels: LabelSet(names: names), segmentCount: setting.segmentCount)
  }

  static func newLabels(
    of records: [LocatedRecord], _ arguments: ParsedArguments, _ path: String
  ) throws -> ModelLabels? {
    let names = try LabelSet(of: records).names
    guard names.count > 1 else {
      throw DatasetError.nothingToTrain(
        file: path, reason: "all words have one label, \(names.first ?? "none")")
    }
    return ModelLabels(names: names)
  }

  func encode(
    _ records: [LocatedRecord], file: String, isEvaluated: Bool
  ) throws -> TaskData {
    let (rows, report) = try encoder.encode(records, file: file)
    let examples = rows.map(\.example)
    guard report.targetCount > 0 else {
      throw DatasetError.nothingToTrain(file: file, reason: "no word has a token")
    }
    return TaskData(
      examples: examples, report: report,
      preview: { number in
        let labels = examples[number].labels
        return ExamplePreview(
          examples[number], of: records[number], setting.tokenizer,
          asked: { labels[$0] == ignoredLabelID ? nil : names[Int(labels[$0])] })
      },
      measure: { model, batchSize, share in
        let found = try model.tokenAnswers(
          of: examples, batchSize: batchSize, share: share)
        let figures = TokenFigures(
          answers: found.answers, rights: examples.map(\.askedLabels), names: names)
        let each = figures.f1PerClass.map { ($0.name, JSON.number($0.value)) }
        return TaskResults(
          loss: found.loss, figures: figures.all,
          details: ["f1": ["f1_per_class": .object(JSONObject(each))]],
          samples: { count in
            records.indices.prefix(count).map { sample(records[$0], rows[$0], found.answers[$0]) }
          })
      })
  }

  /// Words with what is right for them and what the model takes them for; null for those that were cut.
  private func sample(
    _ located: LocatedRecord, _ row: TokenClassificationEncoder.Row, _ answers: [Int]
  ) -> JSON {
    guard case .labeledTokens(let words, let labels) = located.record else { return .null }
    var left = answers[...]
    let found = row.positions.map { position -> JSON in
      position == nil ? .null : left.popFirst().map { .string(names[$0]) } ?? .null
    }
    let expected = labels.map { label -> JSON in
      if case .name(let name) = label { return .string(name) }
      return .string(label.description)
    }
    return [
      "tokens": .array(words.map(JSON.string)), "expected": .array(expected),
      "answer": .array(found),
    ]
  }
}
