import Adapters
import Checkpoints
import CommandLineParsing
import Foundation
import JSONValues
import Models
import Tokenizers

/// The options that describe an adapter, for every method: each stands for the field that the method
/// has for it.
enum AdapterOptions {
  /// The method that `--method` names.
  static func method(_ arguments: ParsedArguments) throws -> any AdapterConfiguration.Type {
    let name = try arguments.value(TrainOptions.method)
    guard let method = AdapterMethods.named(name) else {
      let known = AdapterMethods.types.map { $0.lowercased() } + ["full"]
      let nearest = nearestName(name.lowercased(), among: known).map { "; did you mean \($0)?" }
      throw UsageError(
        "--method \(name) is not known; known: \(known.joined(separator: ", "))\(nearest ?? "")")
    }
    return method
  }

  /// `--adapter-config` or the method's defaults, with what the options say over it.
  ///
  /// - Throws: `UsageError` for an option that the method does not have, ``AdapterError`` for a value.
  static func configuration(
    _ arguments: ParsedArguments, _ tokenizer: Tokenizer
  ) throws -> any AdapterConfiguration {
    let (method, object, isLoRA) = try beginning(arguments)
    var fields = object
    for (option, value) in try values(arguments) where isLoRA || arguments.isGiven(option) {
      if let key = key(of: option, in: method) {
        fields[key] = value.json
      } else if !value.isDefault {
        throw UsageError("--\(option): \(method.type) has no such setting")
      }
    }
    let own = try ownFields(arguments, method)
    for (key, value) in try PromptOptions.fields(arguments, of: method, own, tokenizer) {
      fields[key] = value
    }
    for (key, value) in own { fields[key] = value }
    var made = try method.init(
      json: .object(fields),
      path: own.count > 0 ? "--adapter-fields" : arguments[TrainOptions.adapterConfig] ?? "--method"
    )
    if var layers = made as? any LayerConfiguration {
      if isLoRA && own["target_modules"] == nil || arguments.isGiven("target-modules") {
        layers.targetModules = TargetModules(try arguments.value(TrainOptions.targetModules))
      }
      if isLoRA && own["bias"] == nil || arguments.isGiven("bias") {
        layers.bias = try arguments.value(TrainOptions.bias)
      }
      made = layers
    } else if arguments[TrainOptions.bias] != BiasTraining.none {
      throw UsageError("--bias: \(method.type) has no such setting")
    }
    if let names = arguments[TrainOptions.modulesToSave] {
      made.modulesToSave = names.split(separator: ",").map(String.init)
    }
    let base = try arguments.value(ModelOptions.model)
    let onHub = HubNames.hubName(base)
    made.baseModel = onHub?.name ?? base
    if let revision = onHub?.revision, revision != HubModelName.defaultRevision {
      made.origin.revision = revision
    }
    try made.validate()
    return try withTokens(made, tokenizer)
  }

  /// Lets virtual tokens that are keys and values begin as the text of `--prompt-text`.
  static func begin<Base: PromptableModel>(
    _ model: PeftModel<Base>, _ arguments: ParsedArguments, _ tokenizer: Tokenizer
  ) throws {
    guard let text = arguments[TrainOptions.promptText],
      let configuration = model.configurations.first?.configuration,
      configuration is PrefixTuningConfig || configuration is CartridgeConfig
    else { return }
    try model.beginPrompt(asPrefixOf: tokenizer.encode(text))
  }

  /// The configuration with the ids of the text that its virtual tokens begin with, if they do so.
  private static func withTokens(
    _ configuration: any AdapterConfiguration, _ tokenizer: Tokenizer
  ) throws -> any AdapterConfiguration {
    guard var prompt = configuration as? any TextPromptConfiguration,
      let text = prompt.textToBeginWith
    else { return configuration }
    guard prompt.tokenizerOptions.isNull else {
      throw UsageError(
        "tokenizer_kwargs \(prompt.tokenizerOptions.serialized()): the model's tokenizer is used as it"
          + " is; expected null")
    }
    prompt.initialTokenIDs = tokenizer.encode(text)
    return prompt
  }

  /// The method, its fields before any option, and whether LoRA's options have their defaults.
  private static func beginning(
    _ arguments: ParsedArguments
  ) throws -> (any AdapterConfiguration.Type, JSONObject, Bool) {
    let chosen = try method(arguments)
    guard let path = arguments[TrainOptions.adapterConfig] else {
      return (chosen, chosen.init().json.objectValue ?? JSONObject(), chosen == LoRAConfig.self)
    }
    let json = try JSON.read(path: path)
    let found = type(of: try AdapterMethods.configuration(json: json, path: path))
    if arguments.isGiven("method"), found != chosen {
      throw UsageError("--method \(chosen.type): \(path) is a configuration of \(found.type)")
    }
    return (found, json.objectValue ?? JSONObject(), false)
  }

  /// What `--adapter-fields` says, none of which another option says too.
  private static func ownFields(
    _ arguments: ParsedArguments, _ method: any AdapterConfiguration.Type
  ) throws -> JSONObject {
    guard let text = arguments[TrainOptions.adapterFields] else { return JSONObject() }
    guard let fields = (try? JSON.parse(Data(text.utf8)))?.objectValue else {
      throw UsageError(
        "--adapter-fields \(text): expected a JSON object, for example {\"use_dora\": true}")
    }
    let options = try values(arguments).map { ($0.option, key(of: $0.option, in: method)) }
    let spelled =
      options
      + ["target-modules", "bias", "modules-to-save"].map {
        ($0, $0.replacing("-", with: "_"))
      }
    for (option, key) in spelled where arguments.isGiven(option) {
      guard let key, fields[key] != nil else { continue }
      throw UsageError("--\(option) and \(key) of --adapter-fields say the same; give one of them")
    }
    return fields
  }

  /// An adapter to go on with has its own shape; options that say otherwise are a mistake.
  static func checkAgreement(
    _ given: ParsedArguments, _ configuration: any AdapterConfiguration, _ path: String
  ) throws {
    func refuse(_ option: String, _ has: String) -> UsageError {
      UsageError("--\(option): the adapter \(path) has \(has), which cannot be changed")
    }
    let method = type(of: configuration)
    for (option, value) in try values(given) where given.isGiven(option) && option != "dropout" {
      let own = key(of: option, in: method).flatMap { configuration.json[$0] }
      guard
        own == value.json || (own?.doubleValue != nil && own?.doubleValue == value.json.doubleValue)
      else { throw refuse(option, own?.serialized() ?? "no such setting") }
    }
    if given.isGiven("method"), try AdapterOptions.method(given) != method {
      throw refuse("method", method.type)
    }
    if given.isGiven("bias"),
      let bias = (configuration as? any LayerConfiguration)?.bias, bias != given[TrainOptions.bias]
    {
      throw refuse("bias", bias.rawValue)
    }
    for (field, value) in try ownFields(given, method) where configuration.json[field] != value {
      throw refuse(
        "adapter-fields", "\(field) = \(configuration.json[field]?.serialized() ?? "null")")
    }
    for option in ["adapter-config", "virtual-tokens", "prompt-text"] where given.isGiven(option) {
      throw refuse(option, "its own")
    }
  }

  /// Writes what an adapter says into the recipe, where the command line said nothing.
  static func settle(
    _ recipe: inout TrainRecipe, _ configuration: any AdapterConfiguration
  ) throws {
    let method = type(of: configuration)
    try recipe.settle("method", method.type.lowercased())
    for option in ["rank", "alpha", "dropout", "rslora"] {
      if let value = key(of: option, in: method).flatMap({ configuration.json[$0] }),
        !value.isNull
      {
        let whole = value.doubleValue.flatMap { Int(exactly: $0) }.map(String.init)
        try recipe.settle(option, whole ?? value.serialized())
      }
    }
    if let count = (configuration as? any PromptConfiguration)?.settings.tokenCount {
      try recipe.settle("virtual-tokens", "\(count)")
    }
    guard let layers = configuration as? any LayerConfiguration else { return }
    try recipe.settle("bias", layers.bias.rawValue)
    switch layers.targetModules {
    case .names(let names): try recipe.settle("target-modules", names.joined(separator: ","))
    case .pattern(let pattern): try recipe.settle("target-modules", pattern)
    case .allLinear: try recipe.settle("target-modules", "all-linear")
    case nil: break
    }
  }

  /// Options that stand for one field, with what they say.
  private static func values(
    _ arguments: ParsedArguments
  ) throws -> [(option: String, value: (json: JSON, isDefault: Bool))] {
    let rank = try arguments.value(TrainOptions.rank)
    let (alpha, dropout) = (
      try arguments.value(TrainOptions.alpha), try arguments.value(TrainOptions.dropout)
    )
    let rsLoRA = arguments[TrainOptions.rsLoRA]
    // As files spell it: flags are no strings.
    let start = arguments[TrainOptions.initialization].map { text -> JSON in
      ["true", "false"].contains(text) ? .bool(text == "true") : .string(text)
    }
    return [
      ("rank", (.integer(rank), rank == 8)), ("alpha", (.number(alpha), alpha == 16)),
      ("dropout", (.number(dropout), dropout == 0)), ("rslora", (.bool(rsLoRA), !rsLoRA)),
    ] + (start.map { [("init-lora-weights", ($0, false))] } ?? [])
  }

  /// The field of a method that an option means, or nil.
  private static func key(of option: String, in method: any AdapterConfiguration.Type) -> String? {
    let names = method.fieldNames
    switch option {
    case "rank": return names.first { $0 == "target_r" } ?? names.first { $0 == "r" }
    case "alpha":
      return names.first { $0 == "alpha" || $0.hasSuffix("_alpha") }
    case "dropout":
      return names.first { $0.hasSuffix("dropout") && $0 != "rank_dropout" }
    case "rslora": return names.first { $0 == "use_rslora" }
    case "init-lora-weights": return names.first { $0 == "init_lora_weights" }
    default: return nil
    }
  }
}
