import JSONValues

/// What a model with a head is for.
public enum ModelTask: String, Sendable, CaseIterable {
  /// The next token.
  case causalLM = "causal-lm"
  /// A text for a text.
  case seq2seqLM = "seq2seq-lm"
  /// Tokens that were hidden.
  case maskedLM = "masked-lm"
  /// The class of a row, several of them, or a number.
  case sequenceClassification = "sequence-classification"
  /// A class for each token.
  case tokenClassification = "token-classification"
  /// Where in a row an answer begins and ends.
  case questionAnswering = "question-answering"
  /// Vectors, without a head.
  case featureExtraction = "feature-extraction"

  /// PEFT's `task_type`; nil for one that PEFT has no name for.
  public var adapterType: String? {
    switch self {
    case .causalLM: "CAUSAL_LM"
    case .seq2seqLM: "SEQ_2_SEQ_LM"
    case .maskedLM: nil
    case .sequenceClassification: "SEQ_CLS"
    case .tokenClassification: "TOKEN_CLS"
    case .questionAnswering: "QUESTION_ANS"
    case .featureExtraction: "FEATURE_EXTRACTION"
    }
  }

  /// The task that PEFT's `task_type` means, or nil.
  ///
  /// - Parameter adapterType: For example "SEQ_CLS".
  public init?(adapterType: String) {
    guard let found = Self.allCases.first(where: { $0.adapterType == adapterType }) else {
      return nil
    }
    self = found
  }

  /// The task of a class of transformers, or nil.
  ///
  /// - Parameter architecture: For example "BertForMaskedLM"; a class without a head is for features.
  init?(architecture: String) {
    let endings: [(String, ModelTask)] = [
      ("ForCausalLM", .causalLM), ("LMHeadModel", .causalLM), ("ForMaskedLM", .maskedLM),
      ("ForConditionalGeneration", .seq2seqLM),
      ("ForSequenceClassification", .sequenceClassification),
      ("ForTokenClassification", .tokenClassification),
      ("ForQuestionAnswering", .questionAnswering), ("Model", .featureExtraction),
    ]
    guard let found = endings.first(where: { architecture.hasSuffix($0.0) }) else { return nil }
    self = found.1
  }

  /// The outputs of the task's head: those that are wanted, else those of the configuration; nil for a
  /// head over the vocabulary or none.
  func outputs(
    _ wanted: ModelLabels?, _ reader: ConfigurationReader
  ) throws(ModelError) -> ModelLabels? {
    switch self {
    case .sequenceClassification, .tokenClassification:
      if let wanted { return wanted }
      return try ModelLabels(reader)
    // First and last positions, whatever other classes a file has.
    case .questionAnswering: return ModelLabels(count: 2)
    case .causalLM, .seq2seqLM, .maskedLM, .featureExtraction: return nil
    }
  }
}

/// How the outputs of a classification are meant.
public enum ProblemType: String, Sendable, CaseIterable {
  /// Numbers.
  case regression
  /// Scores of classes of which one is right.
  case singleLabel = "single_label_classification"
  /// Scores of classes each of which is right or wrong.
  case multiLabel = "multi_label_classification"
}

/// The outputs of a classification head.
public struct ModelLabels: Equatable, Sendable {
  /// Names of the classes, in the order of the outputs.
  public var names: [String]
  /// How the outputs are meant; nil where labels decide: one output is a number, classes are numbered
  /// by whole numbers, and others say for each class whether it is right.
  public var problem: ProblemType?

  /// Makes labels.
  ///
  /// - Parameters:
  ///   - names: Names of the classes, in the order of the outputs.
  ///   - problem: How the outputs are meant.
  public init(names: [String], problem: ProblemType? = nil) {
    self.names = names
    self.problem = problem
  }

  /// Makes labels with transformers' names, "LABEL_0" and so on.
  ///
  /// - Parameters:
  ///   - count: Number of outputs.
  ///   - problem: How the outputs are meant.
  public init(count: Int, problem: ProblemType? = nil) {
    self.init(names: (0..<count).map { "LABEL_\($0)" }, problem: problem)
  }

  /// Reads `id2label` and `problem_type`; two classes where a file says nothing.
  init(_ reader: ConfigurationReader) throws(ModelError) {
    problem = nil
    if reader.has("problem_type") {
      let name = try reader.string("problem_type")
      guard let found = ProblemType(rawValue: name) else {
        throw reader.wrong(
          "problem_type", ProblemType.allCases.map(\.rawValue).joined(separator: ", "))
      }
      problem = found
    }
    guard let table = reader.value("id2label") else {
      let count = try reader.positive("num_labels", default: 2)
      guard count <= 1_000_000 else {
        throw reader.wrong("num_labels", "a positive whole number up to 1000000")
      }
      names = ModelLabels(count: count).names
      return
    }
    let entries = (table.objectValue ?? JSONObject()).map { (Int($0.key), $0.value.stringValue) }
    let sorted = entries.sorted { ($0.0 ?? -1) < ($1.0 ?? -1) }
    guard table.objectValue != nil, !sorted.isEmpty, sorted.map(\.0) == Array(0..<sorted.count)
    else { throw reader.wrong("id2label", "names of the classes 0, 1 and so on") }
    names = sorted.enumerated().map { $0.element.1 ?? "LABEL_\($0.offset)" }
  }
}
