import Foundation
public import JSONValues

extension LoRAConfig {
  /// Fields of PEFT 0.21.2 that this configuration has no say in, with the values that mean "off".
  private static let offFields: [(key: String, value: JSON)] = [
    ("alora_invocation_tokens", nil), ("arrow_config", nil), ("corda_config", nil),
    ("ensure_weight_tying", false), ("eva_config", nil), ("fan_in_fan_out", false),
    ("kasa_config", nil), ("layer_replication", nil), ("loftq_config", [:]), ("lora_bias", false),
    ("lora_ga_config", nil), ("megatron_config", nil), ("megatron_core", "megatron.core"),
    ("monteclora_config", nil), ("qalora_group_size", 16), ("target_parameters", nil),
    ("trainable_token_indices", nil), ("use_bdlora", nil), ("use_dora", false),
    ("use_qalora", false), ("velora_config", nil),
  ]

  /// The content of `adapter_config.json`.
  ///
  /// - Parameter targets: What `target_modules` says; "all-linear" is written as names, as PEFT does.
  /// - Returns: An object with every field of PEFT 0.21.2.
  public func json(targets: [String]? = nil) -> JSON {
    func names(_ targets: TargetModules?) -> JSON {
      switch targets {
      case .names(let names): .array(names.sorted().map(JSON.string))
      case .pattern(let pattern): .string(pattern)
      case .allLinear: "all-linear"
      case nil: nil
      }
    }
    func list(_ values: [String]) -> JSON {
      values.isEmpty ? nil : .array(values.map(JSON.string))
    }
    var object = JSONObject(Self.offFields)
    object["alpha_pattern"] = .object(
      JSONObject(alphaPattern.map { ($0.pattern, number($0.value)) }))
    object["auto_mapping"] = nil as JSON
    object["base_model_name_or_path"] = baseModel.map(JSON.string) ?? .null
    object["bias"] = .string(bias.rawValue)
    object["exclude_modules"] = names(excludeModules)
    object["inference_mode"] = true
    object["init_lora_weights"] =
      switch initialization {
      case .standard: true
      case .gaussian: "gaussian"
      case .random: false
      }
    object["layers_pattern"] = list(layersPattern)
    object["layers_to_transform"] = layersToTransform.map { .array($0.map(JSON.integer)) } ?? .null
    object["lora_alpha"] = number(alpha)
    object["lora_dropout"] = .number(dropout)
    object["modules_to_save"] = list(modulesToSave)
    object["peft_type"] = "LORA"
    object["peft_version"] = "0.21.2"
    object["r"] = .integer(rank)
    object["rank_pattern"] = .object(
      JSONObject(rankPattern.map { ($0.pattern, .integer($0.value)) }))
    object["revision"] = nil as JSON
    object["target_modules"] =
      targets.map { .array($0.sorted().map(JSON.string)) } ?? names(targetModules)
    object["task_type"] = taskType.map(JSON.string) ?? .null
    object["use_rslora"] = .bool(usesRankStabilization)
    return .object(object)
  }

  /// Whole numbers are written without a fraction, as PEFT does for its integer defaults.
  private func number(_ value: Double) -> JSON {
    value == value.rounded() && abs(value) < 1e15 ? .integer(Int(value)) : .number(value)
  }

  /// Reads the content of `adapter_config.json`.
  ///
  /// - Parameters:
  ///   - json: The object. Missing fields take PEFT's defaults.
  ///   - path: For messages.
  /// - Throws: ``AdapterError`` when it is not LoRA's, a value is wrong, or a field asks for
  ///   something that is not supported.
  public init(json: JSON, path: String) throws(AdapterError) {
    let type = json["peft_type"]?.stringValue ?? "none"
    guard type == "LORA" else {
      throw .unknownMethod(path: path, type: type, known: ["LORA"])
    }
    self.init()
    for (key, off) in Self.offFields where !Self.isOff(json[key], off, key: key) {
      throw .unsupported(field: key, value: json[key]?.serialized() ?? "")
    }
    let reader = FieldReader(json: json)
    rank = try reader.integer("r") ?? 8
    alpha = try reader.number("lora_alpha") ?? 8
    dropout = try reader.number("lora_dropout") ?? 0
    usesRankStabilization = try reader.flag("use_rslora") ?? false
    targetModules = try reader.targets("target_modules")
    excludeModules = try reader.targets("exclude_modules")
    if let text = try reader.string("bias") {
      guard let value = BiasTraining(rawValue: text) else {
        throw .configuration(field: "bias", expected: "none, all or lora_only", actual: text)
      }
      bias = value
    }
    layersToTransform = try reader.integers("layers_to_transform")
    layersPattern = try reader.strings("layers_pattern") ?? []
    modulesToSave = try reader.strings("modules_to_save") ?? []
    for (pattern, value) in try reader.object("rank_pattern") {
      guard let rank = value.intValue else {
        throw reader.wrong("rank_pattern", "ranks by pattern")
      }
      rankPattern.append(Pattern(pattern, rank))
    }
    for (pattern, value) in try reader.object("alpha_pattern") {
      guard let alpha = value.doubleValue, alpha.isFinite else {
        throw reader.wrong("alpha_pattern", "numbers by pattern")
      }
      alphaPattern.append(Pattern(pattern, alpha))
    }
    taskType = try reader.string("task_type")
    baseModel = try reader.string("base_model_name_or_path")
    initialization = try reader.initialization()
    try validate()
  }

  private static func isOff(_ value: JSON?, _ off: JSON, key: String) -> Bool {
    guard let value, !value.isNull else { return true }
    // Values beside a switch that is off, and ones that only describe an initialisation.
    if ["qalora_group_size", "megatron_core", "loftq_config"].contains(key) { return true }
    return value == off || (off.isNull && value == false)
      || (value.objectValue?.count == 0) || (value.arrayValue?.isEmpty ?? false)
  }
}

/// Typed fields of an adapter configuration; null counts as absent.
private struct FieldReader {
  let json: JSON

  private func value(_ key: String) -> JSON? {
    guard let value = json[key], !value.isNull else { return nil }
    return value
  }

  func object(_ key: String) throws(AdapterError) -> JSONObject {
    guard let value = value(key) else { return JSONObject() }
    guard let object = value.objectValue else { throw wrong(key, "an object") }
    return object
  }

  func wrong(_ key: String, _ expected: String) -> AdapterError {
    .configuration(
      field: key, expected: expected, actual: String((json[key]?.serialized() ?? "").prefix(60)))
  }

  func integer(_ key: String) throws(AdapterError) -> Int? {
    guard let value = value(key) else { return nil }
    guard let number = value.intValue else { throw wrong(key, "a whole number") }
    return number
  }

  func number(_ key: String) throws(AdapterError) -> Double? {
    guard let value = value(key) else { return nil }
    guard let number = value.doubleValue else { throw wrong(key, "a number") }
    return number
  }

  func flag(_ key: String) throws(AdapterError) -> Bool? {
    guard let value = value(key) else { return nil }
    guard let flag = value.boolValue else { throw wrong(key, "true or false") }
    return flag
  }

  func string(_ key: String) throws(AdapterError) -> String? {
    guard let value = value(key) else { return nil }
    guard let text = value.stringValue else { throw wrong(key, "text") }
    return text
  }

  func strings(_ key: String) throws(AdapterError) -> [String]? {
    guard let value = value(key) else { return nil }
    if let one = value.stringValue { return [one] }
    return try elements(key, "a list of names", value.arrayValue, \.stringValue)
  }

  /// The elements of a list, all of one type.
  private func elements<Element>(
    _ key: String, _ expected: String, _ list: [JSON]?, _ read: (JSON) -> Element?
  ) throws(AdapterError) -> [Element] {
    let read = list?.map(read) ?? []
    let found = read.compactMap { $0 }
    guard list != nil, found.count == read.count else { throw wrong(key, expected) }
    return found
  }

  func integers(_ key: String) throws(AdapterError) -> [Int]? {
    guard let value = value(key) else { return nil }
    if let one = value.intValue { return [one] }
    return try elements(key, "a list of whole numbers", value.arrayValue, \.intValue)
  }

  func targets(_ key: String) throws(AdapterError) -> TargetModules? {
    guard let value = value(key) else { return nil }
    if let pattern = value.stringValue {
      return pattern.lowercased() == "all-linear" ? .allLinear : .pattern(pattern)
    }
    return .names(
      try elements(key, "a list of names or an expression", value.arrayValue, \.stringValue))
  }

  func initialization() throws(AdapterError) -> LoRAConfig.Initialization {
    guard let value = value("init_lora_weights") else { return .standard }
    if let flag = value.boolValue { return flag ? .standard : .random }
    if value.stringValue == "gaussian" { return .gaussian }
    throw .unsupported(field: "init_lora_weights", value: value.serialized())
  }
}
