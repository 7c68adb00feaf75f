import CommandLineParsing
import Datasets
import Foundation
import JSONValues
import Models
import Tokenizers
import Training

/// A task of models with heads, as `graft train`, `graft evaluate` and `graft data preview` know it.
///
/// A new one is one file and one line in ``all``.
protocol HeadTask: SendableMetatype {
  /// Which one it is.
  static var task: ModelTask { get }
  /// What its records are for.
  static var family: RecordFormat.Family { get }
  /// Figures that `graft evaluate` can print, in their order.
  static var metrics: [String] { get }
  /// Whether the outputs of its heads are classes or numbers with names.
  static var hasLabels: Bool { get }
  /// Options of data that it alone has.
  static var options: [any OptionDeclaration] { get }

  /// The outputs of a new head.
  ///
  /// - Parameters:
  ///   - records: The training data.
  ///   - arguments: The options.
  ///   - path: The data's file, for messages.
  /// - Returns: Names and kind; nil where heads of the task have as many outputs always.
  /// - Throws: `DatasetError` for labels that cannot be.
  static func newLabels(
    of records: [LocatedRecord], _ arguments: ParsedArguments, _ path: String
  ) throws -> ModelLabels?

  /// Settles what the labels of a head that is there leave open.
  ///
  /// - Parameters:
  ///   - labels: The head's.
  ///   - records: The data.
  ///   - arguments: The options.
  /// - Returns: Names and kind.
  static func completed(
    _ labels: ModelLabels, _ records: [LocatedRecord], _ arguments: ParsedArguments
  ) -> ModelLabels

  /// Gets ready to encode.
  ///
  /// - Parameters:
  ///   - setting: The model's side.
  ///   - arguments: The options.
  /// - Throws: `DatasetError` or `UsageError` for options that cannot be.
  init(_ setting: TaskSetting, _ arguments: ParsedArguments) throws

  /// How tokens are hidden in training; nil for not.
  var masking: TokenMasking? { get }

  /// Encodes records.
  ///
  /// - Parameters:
  ///   - records: The records.
  ///   - file: For messages.
  ///   - isEvaluated: Whether they are measured and not trained on.
  /// - Returns: What becomes of them.
  /// - Throws: `DatasetError` naming the line of a record that cannot be used.
  func encode(
    _ records: [LocatedRecord], file: String, isEvaluated: Bool
  ) throws -> TaskData
}

extension HeadTask {
  static var hasLabels: Bool { true }
  static var options: [any OptionDeclaration] { [] }
  static func completed(
    _ labels: ModelLabels, _ records: [LocatedRecord], _ arguments: ParsedArguments
  ) -> ModelLabels { labels }
  var masking: TokenMasking? { nil }

  /// Reads the records of a file.
  static func read(_ path: String) throws -> [LocatedRecord] {
    var reader = try RecordReader(path: path, family: family)
    return try reader.readAll()
  }
}

/// The tasks that can be trained and measured.
enum HeadTasks {
  static let all: [any HeadTask.Type] = [
    SequenceClassificationTask.self, TokenClassificationTask.self, QuestionAnsweringTask.self,
    MaskedLMTask.self,
  ]

  /// The task of a name.
  ///
  /// - Parameter task: Which one.
  /// - Returns: What the commands know of it.
  /// - Throws: `UsageError` for one that has nothing to train.
  static func named(_ task: ModelTask) throws -> any HeadTask.Type {
    for known in all where known.task == task { return known }
    let names = [ModelTask.causalLM.rawValue] + all.map { known in known.task.rawValue }
    throw UsageError("--task \(task.rawValue): expected one of \(names.joined(separator: ", "))")
  }

  /// Options of all of them.
  static var options: [any OptionDeclaration] { all.flatMap { known in known.options } }

  /// Figures of all of them, each once.
  static var metrics: [String] {
    var found: [String] = []
    for name in all.flatMap({ known in known.metrics }) where !found.contains(name) {
      found.append(name)
    }
    return found
  }
}

/// What encoding has to know of a model.
struct TaskSetting {
  let tokenizer: Tokenizer
  /// Most tokens of a row.
  let maximumLength: Int
  /// Segments that the model tells apart.
  let segmentCount: Int
  /// Tokens that the model has.
  let vocabularySize: Int
  /// The head's outputs; nil where the task has none.
  let labels: ModelLabels?
  /// Start of random numbers.
  let seed: UInt64
}

/// Encoded records of a task.
struct TaskData {
  let examples: [TokenizedExample]
  let report: EncodingReport
  /// Shows an example, by its number.
  let preview: (_ number: Int) -> ExamplePreview
  /// Measures a model on them, with the batches of this process.
  let measure:
    (_ model: TaskModel, _ batchSize: Int, _ share: EvaluationShare) throws -> TaskResults
}

/// What a model does on the records of a task.
struct TaskResults {
  /// Mean loss.
  let loss: Double
  /// Names and figures beside the loss.
  let figures: [(name: String, value: Double)]
  /// More figures for `--json`, beside the one that they belong to.
  var details: [String: JSON] = [:]
  /// Shows what the model makes of the first records.
  let samples: (_ count: Int) -> [JSON]

  /// The loss and all figures.
  var all: [(name: String, value: Double)] { [("loss", loss)] + figures }
}
