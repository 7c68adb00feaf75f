import JSONValues
import Layers
import Models
import Tensors

/// Configuration of prefix tuning: n virtual tokens whose keys and values for every block are trained.
///
/// With a projection they come from embeddings through a linear layer, tanh and another linear layer.
/// PEFT saves only what comes out of it; the encoder itself is written beside it here, in
/// `adapter_encoder.safetensors`, so that training can go on.
///
/// Source: Li and Liang 2021, arXiv 2101.00190. Defaults are those of PEFT 0.21.2.
public struct PrefixTuningConfig: PromptConfiguration {
  /// PEFT's name of the method.
  public static let type = "PREFIX_TUNING"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// How many virtual tokens, and sizes of the model.
  public var settings = PromptSettings()
  /// Whether keys and values come from a projection.
  public var hasProjection = false
  /// Width between the projection's layers; nil for that of all key/value heads.
  public var encoderSize: Int?
  /// Whether keys and values begin at zero instead of standard normal numbers.
  ///
  /// Attention still gives zero keys their share, so that outputs change at once, as in PEFT.
  public var beginsAtZero = false

  /// Makes a configuration with PEFT's defaults, which says nothing of the number of tokens.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - virtualTokens: How many virtual tokens, positive.
  ///   - projection: Whether keys and values come from a projection.
  ///   - encoderSize: Width between the projection's layers; nil for that of all key/value heads.
  ///   - beginsAtZero: Whether keys and values begin at zero.
  public init(
    virtualTokens: Int, projection: Bool = false, encoderSize: Int? = nil,
    beginsAtZero: Bool = false
  ) {
    settings.tokenCount = virtualTokens
    hasProjection = projection
    self.encoderSize = encoderSize
    self.beginsAtZero = beginsAtZero
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    ConfigurationField.settings + [
      .integer("encoder_hidden_size", \.encoderSize), .flag("prefix_projection", \.hasProjection),
      ConfigurationField(
        "init_weights",
        read: { (object, reader) throws(AdapterError) in
          let name = try reader.string("init_weights")
          guard name == nil || name == "zero" else {
            throw .configuration(
              field: "init_weights", expected: "zero or nothing", actual: name ?? "")
          }
          object.beginsAtZero = name != nil
        }, write: { $0.beginsAtZero ? "zero" : nil }),
    ]
  }
}

extension PrefixTuningConfig: PromptMethod {
  static var kind: ModelPrompt.Kind { .keysAndValues }
  static var actsBeforeEncoders: Bool { true }

  func validateOwn() throws(AdapterError) {
    try require(
      "encoder_hidden_size", (encoderSize ?? 1) > 0, "a positive number", encoderSize ?? 0)
  }

  mutating func fill(tokenSize: Int) { encoderSize = encoderSize ?? tokenSize }

  func encoder(for site: PromptSite) throws(AdapterError) -> any PromptEncoder {
    let shape = site.model.promptShape
    let size = shape.keyValueHeadCount * shape.headSize
    let width = shape.layerCount * 2 * size
    guard hasProjection else {
      let begin = [tokenCount, width]
      return PromptTable(beginsAtZero ? site.zeros(begin) : site.normal(begin))
    }
    let inner = encoderSize ?? size
    let encoder = PrefixProjection(
      table: site.normal([tokenCount, size]), first: site.linear(size, inner, "transform.0"),
      second: site.linear(inner, width, "transform.2"))
    if beginsAtZero {
      withoutGradients {
        _ = encoder.second.weight.value.fillInPlace(0)
        _ = encoder.second.bias.value.fillInPlace(0)
      }
    }
    return encoder
  }
}

/// Keys and values from embeddings: second(tanh(first(e))).
final class PrefixProjection: DerivedPromptEncoder {
  let table: Parameter  // [n, kv]
  let first: PromptLinear
  let second: PromptLinear

  init(table: Parameter, first: PromptLinear, second: PromptLinear) {
    self.table = table
    self.first = first
    self.second = second
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("embedding.weight", table)] + first.parameters + second.parameters
  }

  func prompt(rows: Int, _ context: AdapterContext) -> Tensor { second(first(table.value).tanh()) }

  func take(_ embeddings: Tensor) -> Bool { false }
}
