import Foundation
import JSONValues
import Tensors

/// Configuration of a mixture of LoRA adapters: y = x W^T + g sum over experts i of
/// s_i (w_i x) A_i^T B_i^T, with weights w of each token that a classifier finds.
///
/// The model runs twice. The first pass, without gradients, has a constant for all w; the classifier
/// turns its last hidden state (behind the last norm) into the w of the second pass. Only the classifier
/// is trained, unless ``trainsExperts`` says otherwise. Experts are plain LoRA adapters in directories
/// of their own, which files only name; their layers must lie inside the decoder.
///
/// Generation keeps keys and values of both passes, so that each token costs two passes over one
/// position; PEFT, which has no cache here, gives the same tokens.
///
/// Differences from PEFT 0.21.2, whose files and numbers these are otherwise:
/// - Any names of experts act, in the order of their names (whole numbers by value); PEFT fails unless
///   they are "0", "1" and so on, and changes their order when it opens a file where they were not in
///   that of their spelling.
/// - Files hold the whole classifier. PEFT leaves layers out whose number is an expert's name too, which
///   the first one's, `layers.0`, always is. Such files are refused.
/// - Experts that were trained are saved, in folders "0", "1" and so on of the adapter's directory,
///   which the configuration then names relative to it; PEFT, which loses them, looks for such paths
///   from the directory that it is started in.
/// - Relative paths of a file count from its directory if they lead somewhere there.
/// - Quantised layers get their experts too, and the classifier of a model of half precision is in
///   float32.
///
/// Source: Buehler and Buehler 2024, arXiv 2402.07148.
public struct XLoRAConfig: AdapterConfiguration {
  /// PEFT's name of the method.
  public static let type = "XLORA"

  /// Task and base.
  public var origin = AdapterOrigin()
  /// Directories of LoRA adapters by name.
  public var adapters: [String: String] = [:]
  /// Width of the model's residual stream; nil to take it from the model.
  public var hiddenSize: Int?
  /// Whether the weights of a token are the softmax of what the classifier says.
  public var usesSoftmax = true
  /// Whether those that `topK` leaves are normalised by a softmax of their own.
  public var usesSoftmaxOfTopK = false
  /// Whether every adapted layer has weights of its own, instead of the same for all.
  public var hasLayerwiseWeights = false
  /// Linear layers of the classifier, with ReLU between them.
  public var depth = 1
  /// Width between them.
  public var size = 2048
  /// Share of what lies between them that is dropped in training.
  public var dropout = 0.2
  /// Whether the experts are trained with the classifier.
  public var trainsExperts = false
  /// What the classifier's numbers are divided by before the softmax.
  public var temperature = 1.0
  /// How many experts each token keeps, those of the largest weights; nil for all.
  public var topK: Int?
  /// Weight of every expert in the first pass.
  public var firstPassWeight = 0.0
  /// g.
  public var globalWeight = 1.0

  /// Makes a configuration with PEFT's defaults, which has no experts.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - adapters: Directories of LoRA adapters by name, at least one.
  ///   - depth: Linear layers of the classifier, positive.
  ///   - size: Width between them, positive.
  public init(adapters: [String: String], depth: Int = 1, size: Int = 2048) {
    self.adapters = adapters
    self.depth = depth
    self.size = size
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      adaptersField, .integer("hidden_size", \.hiddenSize), .flag("enable_softmax", \.usesSoftmax),
      .flag("enable_softmax_topk", \.usesSoftmaxOfTopK),
      .flag("layerwise_scalings", \.hasLayerwiseWeights), .integer("xlora_depth", \.depth),
      .integer("xlora_size", \.size), .number("xlora_dropout_p", \.dropout),
      .flag("use_trainable_adapters", \.trainsExperts),
      .number("softmax_temperature", \.temperature), .integer("top_k_lora", \.topK),
      .number("scaling_pass_value", \.firstPassWeight),
      .number("global_scaling_weight", \.globalWeight),
    ]
  }

  private static var adaptersField: ConfigurationField<Self> {
    ConfigurationField(
      "adapters",
      read: { (object, reader) throws(AdapterError) in
        var result: [String: String] = [:]
        for (name, path) in try reader.object("adapters") {
          guard let text = path.stringValue else {
            throw reader.wrong("adapters", "directories by name")
          }
          result[name] = text
        }
        object.adapters = result
      },
      write: { object in
        .object(JSONObject(object.orderedAdapters.map { ($0.name, .string($0.path)) }))
      })
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try require("adapters", !adapters.isEmpty, "directories of LoRA adapters by name", "{}")
    try requirePositive("xlora_depth", depth)
    try requirePositive("xlora_size", size)
    try requireShare("xlora_dropout_p", dropout)
    try requireFinite("scaling_pass_value", firstPassWeight)
    try requireFinite("global_scaling_weight", globalWeight)
    try require(
      "softmax_temperature", temperature.isFinite && temperature > 0, "a positive number",
      temperature)
    if let hiddenSize { try requirePositive("hidden_size", hiddenSize) }
    if let topK {
      try require(
        "top_k_lora", (1...adapters.count).contains(topK),
        "at least 1 and at most the \(adapters.count) experts", topK)
    }
  }

  /// The experts in the order of the classifier's outputs: by name, whole numbers by value.
  var orderedAdapters: [(name: String, path: String)] {
    let numbers = adapters.keys.compactMap { Int($0) }
    let isNumbered = numbers.count == adapters.count
    return adapters.sorted { left, right in
      if isNumbered, let a = Int(left.key), let b = Int(right.key), a != b { return a < b }
      return left.key.unicodeScalars.lexicographicallyPrecedes(right.key.unicodeScalars)
    }.map { (name: $0.key, path: $0.value) }
  }
}

extension XLoRAConfig: PathConfiguration {
  func resolved(in directory: String) -> Self {
    var result = self
    for (name, path) in adapters where !path.hasPrefix("/") {
      let inside = URL(fileURLWithPath: directory).appendingPathComponent(path).standardized.path
      if FileManager.default.fileExists(atPath: inside + "/adapter_config.json") {
        result.adapters[name] = inside
      }
    }
    return result
  }

  /// Those of experts that are trained, which have directories of their own.
  func tensors() throws(AdapterError) -> [String: Tensor] {
    guard trainsExperts else { return [:] }
    var result: [String: Tensor] = [:]
    for (number, entry) in orderedAdapters.enumerated() {
      let expert = try XLoRAExpert(entry.name, entry.path)
      for (key, tensor) in expert.tensors { result[expertKey(key, number)] = tensor }
    }
    return result
  }
}
