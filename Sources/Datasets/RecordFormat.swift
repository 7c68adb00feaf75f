import JSONValues

/// The layouts of a line that are understood, told apart by their keys.
public enum RecordFormat: String, CaseIterable, Codable, Equatable, Sendable {
  /// `{"messages": [{"role", "content"}], "tools"?, "chat_template_kwargs"?}`: a conversation.
  case messages
  /// `{"conversations": [{"from", "value"}], "system"?, "tools"?}`: a conversation as ShareGPT
  /// writes it.
  case conversations
  /// `{"prompt", "completion"}`: a question and its answer.
  case promptCompletion = "prompt-completion"
  /// `{"instruction", "input"?, "output", "system"?, "history"?}`: a task, its material and the
  /// answer, as Alpaca writes it.
  case instruction
  /// `{"source", "target"}`: for models that read one text and write another.
  case sourceTarget = "source-target"
  /// `{"text", "text_pair"?, "label"}`: a text, or a pair of texts, and its class.
  case textLabel = "text-label"
  /// `{"tokens": [...], "labels": [...]}`: words and the class of each.
  case tokenLabels = "token-labels"
  /// `{"question", "context", "answers"?: {"text": [...], "answer_start": [...]}}`: a question and where
  /// in a text its answers stand, as SQuAD writes it.
  case questionContext = "question-context"
  /// `{"text"}`: plain text.
  case text
  /// `{"prompt"}` alone: something to answer; only where no answer is needed.
  case prompt
  /// `{"source"}` alone: something to read; only where nothing is asked.
  case source

  /// The tasks that formats serve; formats of one family may stand in one file.
  public enum Family: String, Codable, Equatable, Sendable {
    /// The next token of a text.
    case languageModel = "language-model"
    /// The class of a text.
    case classification
    /// A class for each word of a text.
    case tokenClassification = "token-classification"
    /// A part of a text that answers a question.
    case questionAnswering = "question-answering"
    /// A text from another text.
    case sequenceToSequence = "sequence-to-sequence"
  }

  /// The task that this format serves.
  public var family: Family {
    switch self {
    case .messages, .conversations, .promptCompletion, .instruction, .text, .prompt: .languageModel
    case .textLabel: .classification
    case .tokenLabels: .tokenClassification
    case .questionContext: .questionAnswering
    case .sourceTarget, .source: .sequenceToSequence
    }
  }

  /// The keys without which the format is not recognised.
  var requiredKeys: [String] {
    switch self {
    case .messages: ["messages"]
    case .conversations: ["conversations"]
    case .promptCompletion: ["prompt", "completion"]
    case .instruction: ["instruction", "output"]
    case .sourceTarget: ["source", "target"]
    case .textLabel: ["text", "label"]
    case .tokenLabels: ["tokens", "labels"]
    case .questionContext: ["question", "context"]
    case .text: ["text"]
    case .prompt: ["prompt"]
    case .source: ["source"]
    }
  }

  /// The keys that the format uses where they are present.
  var optionalKeys: [String] {
    switch self {
    case .messages: ["tools", "chat_template_kwargs"]
    case .conversations: ["system", "tools"]
    case .instruction: ["input", "system", "history"]
    case .textLabel: ["text_pair"]
    case .questionContext: ["answers"]
    default: []
    }
  }

  /// Whether it has no answer.
  private var isQuestion: Bool { self == .prompt || self == .source }

  /// All keys of the format.
  var keys: [String] { requiredKeys + optionalKeys }

  /// The format as it is written in messages, such as `{"prompt", "completion"}`.
  public var spelling: String {
    let names = requiredKeys.map { "\"\($0)\"" } + optionalKeys.map { "\"\($0)\"?" }
    return "{\(names.joined(separator: ", "))}"
  }

  /// All formats that can be trained on, for messages.
  static let summary =
    allCases
    .filter { !$0.isQuestion }.map(\.spelling).joined(separator: ", ")

  /// Keys that others may be slips of; too much resembles "history", such as "story".
  private static let allKeys = allCases.flatMap(\.keys).filter { $0 != "history" }

  /// Whether a key has a meaning beside another one only, which is not there: `labels` without `tokens`
  /// may be a slip of `label`.
  private static func isStray(_ key: String, in object: JSONObject) -> Bool {
    key == "labels" && object["tokens"] == nil
  }

  /// Finds the format of an object.
  ///
  /// The first format whose required keys are all there wins, in the order of the cases: a line
  /// with messages is a conversation even if a copy of its first prompt stands beside them.
  ///
  /// - Parameters:
  ///   - object: One line.
  ///   - place: Where the line stands, for the error.
  ///   - allowsPromptOnly: Whether a prompt without completion will do.
  /// - Returns: The format.
  /// - Throws: `DatasetError.missingKey` when one key of two is there, `.unknownFormat` when no
  ///   format is near, `.misspelledKey` when a key that is not used resembles an absent one.
  static func detect(
    _ object: JSONObject, at place: RecordLocation, allowsPromptOnly: Bool = false
  ) throws(DatasetError) -> RecordFormat {
    let found = object.keys
    let candidates = allCases.filter { !$0.isQuestion || allowsPromptOnly }
    let format = candidates.first { $0.requiredKeys.allSatisfy { object[$0] != nil } }
    // A slip of the pen is looked for first: {"text", "lable"} must not pass for plain text.
    for key in found where !allKeys.contains(key) || isStray(key, in: object) {
      let others = allKeys.filter { $0 != key }
      guard let meant = nearestName(to: key, among: others), object[meant] == nil else { continue }
      guard let format else {
        throw .unknownFormat(at: place, keys: found, suggestion: "\"\(meant)\" for \"\(key)\"")
      }
      let completes = allCases.contains {
        $0.keys.contains(meant) && $0.requiredKeys.allSatisfy { $0 == meant || object[$0] != nil }
      }
      if format.keys.contains(meant) || completes {
        throw .misspelledKey(at: place, key: key, suggestion: meant)
      }
    }
    if let format { return format }
    let partial = candidates.first { $0.requiredKeys.contains { object[$0] != nil } }
    if let missing = partial?.requiredKeys.first(where: { object[$0] == nil }) {
      throw .missingKey(at: place, key: missing, found: found)
    }
    throw .unknownFormat(at: place, keys: found, suggestion: nil)
  }
}
