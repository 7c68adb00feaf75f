import Checkpoints
public import JSONValues
import Layers
import Models
import Tensors

/// Configuration of multitask prompt tuning: the embeddings of n virtual tokens, times a low-rank matrix
/// of each task: P * (U_t V_t) with P `[n, hidden]`, U_t `[n, ranks]`, V_t `[ranks, hidden]`.
///
/// Which task a row has is said by its batch or `PeftModel.context.taskIDs`; without them all have the
/// first one.
///
/// Source: Wang et al. 2023, arXiv 2303.02861. Defaults are those of PEFT 0.21.2.
public struct MultitaskPromptTuningConfig: TextPromptConfiguration {
  /// PEFT's name of the method.
  public static let type = "MULTITASK_PROMPT_TUNING"

  /// How the virtual tokens begin.
  public enum Initialization: String, Sendable, CaseIterable {
    /// Standard normal numbers.
    case random = "RANDOM"
    /// Embeddings of a text's tokens, cut or repeated.
    case text = "TEXT"
    /// Embeddings of tokens drawn from the vocabulary, with repetition.
    case vocabulary = "SAMPLE_VOCAB"
    /// Another adapter's prompt and the mean of its tasks' matrices.
    case averageSource = "AVERAGE_SOURCE_TASKS"
    /// Another adapter's prompt and one of its tasks' matrices.
    case oneSource = "EXACT_SOURCE_TASK"
    /// Another adapter's prompt alone.
    case sharedSource = "ONLY_SOURCE_SHARED"
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// How many virtual tokens, and sizes of the model.
  public var settings = PromptSettings()
  /// How the virtual tokens begin.
  public var initialization = Initialization.random
  /// The text for ``Initialization/text``.
  public var text: String?
  /// PEFT's `tokenizer_name_or_path`, which PEFT asks for with a text.
  public var tokenizerName: String?
  /// PEFT's `tokenizer_kwargs`.
  public var tokenizerOptions = JSON.null
  /// Ids of the text by the model's tokenizer.
  public var initialTokenIDs: [Int]?
  /// `adapter_model.safetensors` of the adapter to begin with.
  public var sourcePath: String?
  /// Its task for ``Initialization/oneSource``.
  public var sourceTask = 0
  /// Rank of the tasks' matrices.
  public var rankCount = 1
  /// Tasks.
  public var taskCount = 1

  /// Makes a configuration with PEFT's defaults, which says nothing of the number of tokens.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - virtualTokens: How many virtual tokens, positive.
  ///   - tasks: How many tasks.
  ///   - ranks: Rank of the tasks' matrices.
  public init(virtualTokens: Int, tasks: Int = 1, ranks: Int = 1) {
    settings.tokenCount = virtualTokens
    taskCount = tasks
    rankCount = ranks
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    ConfigurationField.settings + [
      .choice("prompt_tuning_init", \.initialization), .string("prompt_tuning_init_text", \.text),
      .string("tokenizer_name_or_path", \.tokenizerName),
      .json("tokenizer_kwargs", \.tokenizerOptions),
      .string("prompt_tuning_init_state_dict_path", \.sourcePath),
      .integer("prompt_tuning_init_task", \.sourceTask), .integer("num_ranks", \.rankCount),
      .integer("num_tasks", \.taskCount),
    ]
  }

  /// The text, where that is how the prompt begins.
  public var textToBeginWith: String? { initialization == .text ? text : nil }
}

extension MultitaskPromptTuningConfig: PromptMethod {
  static var kind: ModelPrompt.Kind { .embeddings }

  private var hasSource: Bool {
    [.averageSource, .oneSource, .sharedSource].contains(initialization)
  }

  func validateOwn() throws(AdapterError) {
    try requireText(isText: initialization == .text, text)
    try require("num_ranks", rankCount > 0, "a positive number", rankCount)
    try require("num_tasks", taskCount > 0, "a positive number", taskCount)
    try require(
      "prompt_tuning_init_state_dict_path", !hasSource || sourcePath != nil,
      "a file with prompt_tuning_init \(initialization.rawValue)", "none")
    let takesOneTask = initialization == .averageSource || initialization == .oneSource
    try require(
      "num_tasks", !takesOneTask || taskCount == 1,
      "1 with prompt_tuning_init \(initialization.rawValue), which makes one task's matrices",
      taskCount)
    try require("prompt_tuning_init_task", sourceTask >= 0, "at least 0", sourceTask)
  }

  func encoder(for site: PromptSite) throws(AdapterError) -> any PromptEncoder {
    let size = site.model.promptShape.hiddenSize
    let made = MultitaskPrompt(
      table: site.normal([tokenCount, size]),
      columns: site.normal([taskCount, tokenCount, rankCount], deviation: 0.02),
      rows: site.normal([taskCount, rankCount, size], deviation: 0.02))
    guard !site.isLoading else { return made }
    switch initialization {
    case .random: break
    case .text: made.table.value = try textTable(site).value
    case .vocabulary: made.table.value = try vocabularyTable(site).value
    case .averageSource, .oneSource, .sharedSource: try begin(made, site)
    }
    return made
  }

  /// Takes over what another adapter's file holds.
  private func begin(_ made: MultitaskPrompt, _ site: PromptSite) throws(AdapterError) {
    let path = sourcePath ?? ""
    guard path.hasSuffix(".safetensors") else {
      throw .configuration(
        field: "prompt_tuning_init_state_dict_path", expected: "a safetensors file", actual: path)
    }
    func read(_ key: String) throws(AdapterError) -> Tensor {
      do {
        let file = try SafetensorsFile(path: path)
        guard let entry = file[key] else {
          throw AdapterError.keys(path: path, missing: [key], unexpected: [])
        }
        return try file.tensor(entry).to(site.dtype).to(device: site.device).cloned()
      } catch let error as AdapterError {
        throw error
      } catch {
        throw .file(path: path, reason: "\(error)")
      }
    }
    func put(_ parameter: Parameter, _ key: String, _ value: Tensor) throws(AdapterError) {
      guard value.shape == parameter.value.shape else {
        throw .wrongShape(
          path: path, key: key, expected: parameter.value.shape, actual: value.shape)
      }
      parameter.value = value
    }
    try put(made.table, promptKey, try read(promptKey))
    guard initialization != .sharedSource else { return }
    for (key, parameter) in [
      ("prefix_task_cols", made.columns), ("prefix_task_rows", made.rows),
    ] {
      let all = try read(key)
      guard all.rank == 3, all.size(0) > 0 else {
        throw .wrongShape(path: path, key: key, expected: parameter.value.shape, actual: all.shape)
      }
      if initialization == .averageSource {
        try put(parameter, key, all.mean([0], keepDimensions: true))
      } else {
        guard sourceTask < all.size(0) else {
          throw .configuration(
            field: "prompt_tuning_init_task",
            expected: "below \(all.size(0)), the tasks of \(path)",
            actual: "\(sourceTask)")
        }
        try put(parameter, key, all.narrowed(0, sourceTask..<sourceTask + 1).cloned())
      }
    }
  }
}

/// P * (U_t V_t).
final class MultitaskPrompt: PromptEncoder {
  let table: Parameter  // [n, hidden]
  let columns: Parameter  // [tasks, n, ranks]
  let rows: Parameter  // [tasks, ranks, hidden]

  init(table: Parameter, columns: Parameter, rows: Parameter) {
    self.table = table
    self.columns = columns
    self.rows = rows
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter(promptKey, table), AdapterParameter("prefix_task_cols", columns),
      AdapterParameter("prefix_task_rows", rows),
    ]
  }

  func prompt(rows count: Int, _ context: AdapterContext) -> Tensor {
    guard let tasks = context.tasks(ofRows: count, among: columns.value.size(0)) else {
      return table.value * columns.value.selected(0, 0).matrixProduct(rows.value.selected(0, 0))
    }
    let chosen = columns.value.selecting(0, tasks).matrixProduct(rows.value.selecting(0, tasks))
    return table.value * chosen  // [rows, n, hidden]
  }
}
