import Adapters
import CommandLineParsing
import Datasets
import JSONValues
import Layers
import Models
import Tokenizers
import Training

/// The options of virtual tokens.
enum PromptOptions {
  /// What the options say, by the fields of a method.
  ///
  /// - Parameters:
  ///   - arguments: The options.
  ///   - method: The adapter's method.
  ///   - own: What `--adapter-fields` says.
  ///   - tokenizer: The model's, for an initial text.
  /// - Returns: Fields with their values.
  /// - Throws: `UsageError` for an option that the method does not have.
  static func fields(
    _ arguments: ParsedArguments, of method: any AdapterConfiguration.Type, _ own: JSONObject,
    _ tokenizer: Tokenizer
  ) throws -> JSONObject {
    var fields = JSONObject()
    let names = method.fieldNames
    func refuse(_ option: Option<some Any>) -> UsageError {
      UsageError("--\(option.name): \(method.type) has no such setting")
    }
    let text = arguments[TrainOptions.promptText]
    var count = arguments[TrainOptions.virtualTokens]
    if let text {
      let ids = tokenizer.encode(text)
      guard !ids.isEmpty else { throw UsageError("--prompt-text: it has no tokens") }
      switch method {
      case is any TextPromptConfiguration.Type:
        fields["prompt_tuning_init"] = "TEXT"
        fields["prompt_tuning_init_text"] = .string(text)
        fields["tokenizer_name_or_path"] = .string(try arguments.value(ModelOptions.model))
        count = count ?? ids.count
      case is CPTConfig.Type:
        guard count == nil || count == ids.count else {
          throw UsageError(
            "--virtual-tokens is \(count ?? 0), expected \(ids.count), the tokens of --prompt-text")
        }
        fields["cpt_token_ids"] = .array(ids.map(JSON.integer))
        fields["tokenizer_name_or_path"] = .string(try arguments.value(ModelOptions.model))
      case is PrefixTuningConfig.Type, is CartridgeConfig.Type: count = count ?? ids.count
      default: throw refuse(TrainOptions.promptText)
      }
    } else if count != nil, method is CPTConfig.Type {
      throw UsageError("--virtual-tokens: CPT has the tokens of --prompt-text or of cpt_token_ids")
    }
    if let count {
      let key = ["num_virtual_tokens", "adapter_len"].first(where: names.contains)
      guard let key else { throw refuse(TrainOptions.virtualTokens) }
      guard own[key] == nil else {
        throw UsageError(
          "--virtual-tokens or --prompt-text and \(key) of --adapter-fields say the same; give one")
      }
      fields[key] = .integer(count)
    }
    if fields["cpt_token_ids"] != nil || own["cpt_token_ids"] != nil {
      // The defaults are for the tokens that a configuration has by default.
      for key in ["cpt_mask", "cpt_tokens_type_mask"] where own[key] == nil {
        fields[key] = .null
      }
    }
    return fields
  }
}

/// Checks of data against virtual tokens.
enum PromptChecks {
  /// Checks that rows fit behind the model's virtual tokens.
  static func check(
    _ examples: [TokenizedExample], _ model: DecoderForCausalLM, _ options: TrainingOptions
  ) throws {
    guard let virtual = model.prompt?.length else { return }
    let limit = model.configuration.maximumLength
    let longest =
      options.packs ? options.maximumLength : examples.lazy.map(\.ids.count).max() ?? 0
    guard longest + virtual <= limit else {
      throw UsageError(
        "rows of \(longest) tokens and \(virtual) virtual ones are more than the model's limit of "
          + "\(limit); set --max-length to at most \(limit - virtual)")
    }
  }

  /// Checks that pairs of texts fit behind virtual tokens, which stand on one side: before what is read,
  /// or as keys and values before what is written.
  static func check(
    _ pairs: [TokenizedExample], _ model: any Module, limit: Int?
  ) throws {
    guard let limit, let prompt = (model as? any PromptableModel)?.prompt else { return }
    let isRead = prompt.kind == .embeddings
    let longest = pairs.lazy.map { isRead ? $0.ids.count : $0.decoderLabels?.count ?? 0 }.max() ?? 0
    guard longest + prompt.length <= limit else {
      throw UsageError(
        "rows of \(longest) tokens and \(prompt.length) virtual ones are more than the model's limit "
          + "of \(limit); set --max-\(isRead ? "" : "target-")length to at most "
          + "\(limit - prompt.length)")
    }
  }

  /// Checks that rows name tasks that the acting adapter has, where it has several.
  static func checkTasks<Base>(
    _ examples: [TokenizedExample], _ model: PeftModel<Base>, isPacked: Bool = false
  ) throws {
    let count = model.taskCount
    for task in examples.lazy.compactMap(\.task) where task >= count && count > 1 {
      throw UsageError("a row's task_id is \(task), expected below \(count), the adapter's tasks")
    }
    guard count > 1 else { return }
    if let place = examples.firstIndex(where: { $0.task == nil }) {
      throw UsageError(
        "example \(place + 1) has no task_id, which the adapter's \(count) tasks need")
    }
    if isPacked {
      throw UsageError("--packing: rows of an adapter of several tasks cannot be packed")
    }
  }
}

extension PeftModel {
  /// Tasks that the acting adapters tell apart; one for most.
  var taskCount: Int {
    configurations.lazy.filter { self.context.active.contains($0.name) }
      .compactMap(\.configuration.tasks).first ?? 1
  }
}

extension AdapterConfiguration {
  /// Tasks that its adapters tell apart; nil for methods that know none.
  var tasks: Int? {
    switch self as any AdapterConfiguration {
    case let config as MultitaskPromptTuningConfig: config.taskCount
    case let config as PolyConfig: config.taskCount
    default: nil
    }
  }
}
