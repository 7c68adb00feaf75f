import CommandLineParsing
import Datasets
import JSONValues
import Models
import Training

/// The part of a text that answers a question.
struct QuestionAnsweringTask: HeadTask {
  static let task = ModelTask.questionAnswering
  static let family = RecordFormat.Family.questionAnswering
  static let hasLabels = false
  static let metrics = ["loss", "exact_match", "f1"]

  static let stride = Option<Int>(
    "stride", default: nil, group: "Data",
    help: "Tokens that windows of a long context have in common; default 128, or a quarter of "
      + "--max-length if that is less.")
  static let longestAnswer = Option<Int>(
    "max-answer-length", default: 30, group: "Data", help: "Most tokens of an answer that is found."
  )
  static let options: [any OptionDeclaration] = [stride, longestAnswer]

  private let setting: TaskSetting
  private let encoder: QuestionAnsweringEncoder
  private var search = AnswerSearch()

  init(_ setting: TaskSetting, _ arguments: ParsedArguments) throws {
    self.setting = setting
    encoder = try QuestionAnsweringEncoder(
      tokenizer: setting.tokenizer, maximumLength: setting.maximumLength,
      stride: arguments[Self.stride] ?? min(128, setting.maximumLength / 4),
      segmentCount: setting.segmentCount)
    search.longest = try SamplingOptions.count(arguments, Self.longestAnswer, 1...1 << 20) ?? 30
  }

  static func newLabels(
    of records: [LocatedRecord], _ arguments: ParsedArguments, _ path: String
  ) throws -> ModelLabels? { nil }

  func encode(
    _ records: [LocatedRecord], file: String, isEvaluated: Bool
  ) throws -> TaskData {
    let (windows, report) = try encoder.encode(records, file: file)
    let examples = windows.map(\.example)
    let rights = records.map { Self.answers(of: $0) }
    return TaskData(
      examples: examples, report: report,
      preview: { number in
        let window = windows[number]
        let places = (window.example.target ?? []).map { Int($0) }
        let isThere = places.count == 2 && window.spans[places[0]] != nil
        return ExamplePreview(
          window.example, of: records[window.record], setting.tokenizer,
          rowLabel: isThere ? "an answer" : "no answer here",
          asked: { position in
            switch (position == places.first, position == places.last) {
            case (true, true): "start, end"
            case (true, false): "start"
            case (false, true): "end"
            default: nil
            }
          })
      },
      measure: { model, batchSize, share in
        let scores = try model.positionScores(
          of: examples, batchSize: batchSize, share: share)
        var search = search
        search.allowsNone = rights.contains { $0.isEmpty }
        let answers = search.answers(
          windows, starts: scores.starts, ends: scores.ends,
          contexts: records.map { Self.context(of: $0) })
        let figures = AnswerFigures(answers: answers, rights: rights)
        return TaskResults(
          loss: scores.loss, figures: figures.all,
          samples: { count in
            records.indices.prefix(count).map { number in
              guard case .question(let question, _, _) = records[number].record else {
                return .null
              }
              return [
                "question": .string(question),
                "expected": .array(rights[number].map(JSON.string)),
                "answer": .string(answers[number]),
              ]
            }
          })
      })
  }

  private static func answers(of located: LocatedRecord) -> [String] {
    guard case .question(_, _, let answers) = located.record else { return [] }
    return answers.map(\.text)
  }

  private static func context(of located: LocatedRecord) -> String {
    guard case .question(_, let context, _) = located.record else { return "" }
    return context
  }
}
