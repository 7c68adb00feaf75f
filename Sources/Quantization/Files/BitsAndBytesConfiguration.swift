public import JSONValues

/// `quantization_config` of a `config.json`, as transformers writes it for bitsandbytes.
///
/// - Note: Source: transformers 5.23, `BitsAndBytesConfig`. It has no block size: that stands beside
///   each weight.
public struct BitsAndBytesConfiguration: Equatable, Sendable {
  /// Bits of a code: 8 or 4.
  public var bits: Int
  /// Magnitude from which an element of int8's activations is an outlier; 0 for none.
  public var threshold = 6.0
  /// Linear layers that stay as they are; nil for the output head.
  public var skippedModules: [String]?
  /// What codes of 4 bits mean.
  public var fourBitType = FourBitType.fp4
  /// Whether the magnitudes of blocks are quantised too.
  public var usesDoubleQuantization = false

  /// Describes a format.
  ///
  /// - Parameters:
  ///   - format: How weights are kept.
  ///   - skippedModules: Linear layers that stay as they are; nil for the output head.
  public init(_ format: WeightFormat, skippedModules: [String]? = nil) {
    self.skippedModules = skippedModules
    switch format {
    case .int8(let threshold):
      bits = 8
      self.threshold = threshold
    case .fourBit(let type, _, let nested):
      bits = 4
      fourBitType = type
      usesDoubleQuantization = nested
    }
  }

  /// Reads the configuration of a model; nil when the model is not quantised.
  ///
  /// - Parameters:
  ///   - model: The content of `config.json`.
  ///   - path: The file, for messages.
  /// - Throws: ``QuantizationError`` for another method than bitsandbytes, and for unusable values.
  public init?(model: JSON, path: String) throws(QuantizationError) {
    guard let json = model["quantization_config"], !json.isNull else { return nil }
    let is8bit = try Self.flag(json, "load_in_8bit", path)
    let is4bit = try Self.flag(json, "load_in_4bit", path)
    let method = json["quant_method"]?.stringValue ?? (is8bit || is4bit ? "bitsandbytes" : "?")
    guard method == "bitsandbytes" else {
      throw .unknownMethod(path: path, method: Self.title(method))
    }
    guard is8bit != is4bit else {
      throw .configuration(
        path: path, key: "load_in_8bit", expected: "exactly one of load_in_8bit and load_in_4bit",
        actual: "\(is8bit) and \(is4bit)")
    }
    bits = is8bit ? 8 : 4
    if let value = json["llm_int8_threshold"], !value.isNull {
      guard let number = value.doubleValue, number >= 0, number.isFinite else {
        throw .configuration(
          path: path, key: "llm_int8_threshold", expected: "a number of at least 0",
          actual: value.serialized())
      }
      threshold = number
    }
    skippedModules = json["llm_int8_skip_modules"]?.arrayValue?.compactMap(\.stringValue)
    if let value = json["bnb_4bit_quant_type"], !value.isNull {
      guard let type = value.stringValue.flatMap(FourBitType.init) else {
        throw .configuration(
          path: path, key: "bnb_4bit_quant_type", expected: "nf4 or fp4",
          actual: value.serialized())
      }
      fourBitType = type
    }
    usesDoubleQuantization = try Self.flag(json, "bnb_4bit_use_double_quant", path)
  }

  /// The object that transformers reads, with every field that it writes.
  public var json: JSON {
    .object(
      JSONObject([
        ("_load_in_4bit", .bool(bits == 4)), ("_load_in_8bit", .bool(bits == 8)),
        ("bnb_4bit_compute_dtype", "float32"), ("bnb_4bit_quant_storage", "uint8"),
        ("bnb_4bit_quant_type", .string(fourBitType.rawValue)),
        ("bnb_4bit_use_double_quant", .bool(usesDoubleQuantization)),
        ("llm_int8_enable_fp32_cpu_offload", false), ("llm_int8_has_fp16_weight", false),
        ("llm_int8_skip_modules", skippedModules.map { .array($0.map(JSON.string)) } ?? .null),
        ("llm_int8_threshold", .number(threshold)), ("load_in_4bit", .bool(bits == 4)),
        ("load_in_8bit", .bool(bits == 8)), ("quant_method", "bitsandbytes"),
      ]))
  }

  /// The format, with a block size that the file does not say.
  ///
  /// - Parameter blockSize: Elements of a block of 4-bit codes.
  /// - Returns: How weights are kept.
  public func format(blockSize: Int = 64) -> WeightFormat {
    bits == 8
      ? .int8(threshold: threshold)
      : .fourBit(fourBitType, blockSize: blockSize, doubleQuantization: usesDoubleQuantization)
  }

  private static func flag(
    _ json: JSON, _ key: String, _ path: String
  ) throws(QuantizationError) -> Bool {
    guard let value = json[key], !value.isNull else { return false }
    guard let flag = value.boolValue else {
      throw .configuration(
        path: path, key: key, expected: "true or false", actual: value.serialized())
    }
    return flag
  }

  /// The name by which users know a method.
  private static func title(_ method: String) -> String {
    let known = [
      "gptq": "GPTQ", "awq": "AWQ", "aqlm": "AQLM", "hqq": "HQQ", "eetq": "EETQ", "fp8": "FP8",
      "compressed-tensors": "compressed-tensors", "quanto": "Quanto", "torchao": "torchao",
      "?": "a method that quantization_config does not name",
    ]
    return known[method.lowercased()] ?? "\"\(method)\""
  }
}
