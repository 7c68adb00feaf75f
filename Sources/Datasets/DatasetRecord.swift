public import JSONValues

/// The label of a text as the file spells it.
public enum RecordLabel: Equatable, Hashable, Sendable, CustomStringConvertible {
  /// The number of a class, or a whole number to predict.
  case index(Int)
  /// The name of a class.
  case name(String)
  /// A number to predict.
  case value(Double)
  /// Several classes at once, or several numbers.
  indirect case several([RecordLabel])

  /// The label as it stands in the file.
  public var description: String {
    switch self {
    case .index(let index): "\(index)"
    case .name(let name): "\"\(name)\""
    case .value(let value): "\(value)"
    case .several(let labels): "[" + labels.map(\.description).joined(separator: ", ") + "]"
    }
  }
}

/// The content of one line of a data file.
public enum DatasetRecord: Equatable, Sendable {
  /// Plain text.
  case text(String)
  /// A question and its answer.
  case promptCompletion(prompt: String, completion: String)
  /// A question without an answer.
  case prompt(String)
  /// A conversation: objects with a role and a content, the tools that it may use, and further
  /// variables of the chat template.
  case messages([JSON], tools: [JSON]?, variables: JSONObject = JSONObject())
  /// A task, its material (may be empty) and the answer; a system text (may be empty) and earlier
  /// turns.
  case instruction(
    String, input: String, output: String, system: String = "", history: [InstructionTurn] = [])
  /// A text or a pair of texts and its label.
  case labeled(text: String, pair: String?, label: RecordLabel)
  /// Words and the class of each.
  case labeledTokens([String], labels: [RecordLabel])
  /// A question, a text and its parts that answer; none where the text has no answer.
  case question(String, context: String, answers: [RecordAnswer])
  /// A text and what is to be made of it.
  case sourceTarget(source: String, target: String)

  /// The layout that the record has in a file.
  public var format: RecordFormat {
    switch self {
    case .text: .text
    case .promptCompletion: .promptCompletion
    case .prompt: .prompt
    case .messages: .messages
    case .instruction: .instruction
    case .labeled: .textLabel
    case .labeledTokens: .tokenLabels
    case .question: .questionContext
    case .sourceTarget: .sourceTarget
    }
  }
}

/// A part of a text that answers a question.
public struct RecordAnswer: Equatable, Sendable {
  /// The part.
  public var text: String
  /// Its first character in the text, counted in Unicode scalars from 0.
  public var start: Int

  /// Makes an answer.
  ///
  /// - Parameters:
  ///   - text: The part.
  ///   - start: Its first character in the text, counted in Unicode scalars from 0.
  public init(text: String, start: Int) {
    self.text = text
    self.start = start
  }
}

/// A task and its answer that come before the task of a record.
public struct InstructionTurn: Equatable, Sendable {
  /// The task.
  public var instruction: String
  /// The answer.
  public var output: String

  /// Makes a turn.
  ///
  /// - Parameters:
  ///   - instruction: The task.
  ///   - output: The answer.
  public init(instruction: String, output: String) {
    self.instruction = instruction
    self.output = output
  }
}

/// A record and its place, which errors further down the way name.
public struct LocatedRecord: Equatable, Sendable {
  /// The content.
  public var record: DatasetRecord
  /// The file and line.
  public var location: RecordLocation
  /// The row's `task_id`, for adapters that have several tasks; nil for none.
  public var task: Int?

  /// A record at a place.
  ///
  /// - Parameters:
  ///   - record: The content.
  ///   - location: The file and line.
  ///   - task: The row's `task_id`.
  public init(_ record: DatasetRecord, at location: RecordLocation, task: Int? = nil) {
    self.record = record
    self.task = task
    self.location = location
  }
}
