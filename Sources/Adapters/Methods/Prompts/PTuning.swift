import Layers
import Models
import Tensors

/// Configuration of P-tuning: n virtual tokens whose embeddings come from an encoder that is trained.
///
/// PEFT saves only what comes out of the encoder; the encoder itself is written beside it here, in
/// `adapter_encoder.safetensors`, so that training can go on.
///
/// Source: Liu et al. 2021, arXiv 2103.10385. Defaults are those of PEFT 0.21.2.
public struct PromptEncoderConfig: PromptConfiguration {
  /// PEFT's name of the method.
  public static let type = "P_TUNING"

  /// What the encoder is made of.
  public enum Encoder: String, Sendable, CaseIterable {
    /// Three linear layers with ReLU between them.
    case mlp = "MLP"
    /// A bidirectional LSTM, then two linear layers with ReLU between them.
    case lstm = "LSTM"
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// How many virtual tokens, and sizes of the model.
  public var settings = PromptSettings()
  /// What the encoder is made of.
  public var encoder = Encoder.mlp
  /// Width inside the encoder; nil for the model's hidden size.
  public var encoderSize: Int?
  /// Layers of the LSTM; the MLP always has its three.
  public var encoderLayers = 2
  /// Share that is dropped between layers of the LSTM in training.
  public var encoderDropout = 0.0

  /// Makes a configuration with PEFT's defaults, which says nothing of the number of tokens.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - virtualTokens: How many virtual tokens, positive.
  ///   - encoder: What the encoder is made of.
  ///   - encoderSize: Width inside the encoder; nil for the model's hidden size.
  public init(virtualTokens: Int, encoder: Encoder = .mlp, encoderSize: Int? = nil) {
    settings.tokenCount = virtualTokens
    self.encoder = encoder
    self.encoderSize = encoderSize
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    ConfigurationField.settings + [
      .choice("encoder_reparameterization_type", \.encoder),
      .integer("encoder_hidden_size", \.encoderSize),
      .integer("encoder_num_layers", \.encoderLayers),
      .number("encoder_dropout", \.encoderDropout),
    ]
  }
}

extension PromptEncoderConfig: PromptMethod {
  static var kind: ModelPrompt.Kind { .embeddings }
  static var actsBeforeEncoders: Bool { true }

  func validateOwn() throws(AdapterError) {
    try require(
      "encoder_hidden_size", (encoderSize ?? 1) > 0, "a positive number", encoderSize ?? 0)
    try require("encoder_num_layers", encoderLayers > 0, "a positive number", encoderLayers)
    try require(
      "encoder_dropout", (0..<1).contains(encoderDropout), "at least 0 and below 1",
      encoderDropout)
  }

  mutating func fill(tokenSize: Int) { encoderSize = encoderSize ?? tokenSize }

  func encoder(for site: PromptSite) throws(AdapterError) -> any PromptEncoder {
    let size = site.model.promptShape.hiddenSize
    let inner = encoderSize ?? size
    let table = site.normal([rowCount, size])
    switch encoder {
    case .mlp:
      return PromptMLP(
        table: table,
        layers: [
          site.linear(size, inner, "mlp_head.0"), site.linear(inner, inner, "mlp_head.2"),
          site.linear(inner, size, "mlp_head.4"),
        ])
    case .lstm:
      let lstm = (0..<encoderLayers).map { layer in
        let input = layer == 0 ? size : 2 * inner
        return ["", "_reverse"].map { direction in
          PromptLSTMDirection(site, input, inner, suffix: "_l\(layer)\(direction)")
        }
      }
      return PromptLSTM(
        table: table, layers: lstm, size: inner,
        first: site.linear(2 * inner, 2 * inner, "mlp_head.0"),
        second: site.linear(2 * inner, size, "mlp_head.2"), dropout: encoderDropout)
    }
  }
}

/// Embeddings through linear layers with ReLU between them.
final class PromptMLP: DerivedPromptEncoder {
  let table: Parameter  // [n, hidden]
  let layers: [PromptLinear]

  init(table: Parameter, layers: [PromptLinear]) {
    self.table = table
    self.layers = layers
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("embedding.weight", table)] + layers.flatMap(\.parameters)
  }

  func prompt(rows: Int, _ context: AdapterContext) -> Tensor {
    layers.dropFirst().reduce(layers[0](table.value)) { $1($0.relu()) }
  }

  func take(_ embeddings: Tensor) -> Bool { false }
}

/// Weights of one direction of one layer of an LSTM, gates in the order input, forget, cell, output.
struct PromptLSTMDirection {
  let suffix: String
  let input: Parameter  // [4 size, input]
  let hidden: Parameter  // [4 size, size]
  let inputBias: Parameter  // [4 size]
  let hiddenBias: Parameter  // [4 size]

  init(_ site: PromptSite, _ inputSize: Int, _ size: Int, suffix: String) {
    let bound = 1 / Double(size).squareRoot()
    self.suffix = suffix
    input = site.uniform([4 * size, inputSize], bound: bound)
    hidden = site.uniform([4 * size, size], bound: bound)
    inputBias = site.uniform([4 * size], bound: bound)
    hiddenBias = site.uniform([4 * size], bound: bound)
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("lstm_head.weight_ih" + suffix, input),
      AdapterParameter("lstm_head.weight_hh" + suffix, hidden),
      AdapterParameter("lstm_head.bias_ih" + suffix, inputBias),
      AdapterParameter("lstm_head.bias_hh" + suffix, hiddenBias),
    ]
  }
}

/// Embeddings through a bidirectional LSTM and two linear layers.
final class PromptLSTM: DerivedPromptEncoder {
  let table: Parameter  // [n, hidden]
  /// For each layer forth and back.
  let layers: [[PromptLSTMDirection]]
  let size: Int
  let first: PromptLinear
  let second: PromptLinear
  let dropout: Double

  init(
    table: Parameter, layers: [[PromptLSTMDirection]], size: Int, first: PromptLinear,
    second: PromptLinear, dropout: Double
  ) {
    self.table = table
    self.layers = layers
    self.size = size
    self.first = first
    self.second = second
    self.dropout = dropout
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("embedding.weight", table)]
      + layers.joined().flatMap(\.parameters) + first.parameters + second.parameters
  }

  func prompt(rows: Int, _ context: AdapterContext) -> Tensor {
    var x = table.value.unsqueezed(0)  // [1, n, hidden]
    for (index, layer) in layers.enumerated() {
      // One layer at a time, so that what is dropped between them comes from our generator.
      if index > 0 { x = context.dropped(x, dropout) }
      x = x.bidirectionalLSTM(
        size: size, layer.flatMap { $0.parameters.map(\.parameter.value) })
    }
    return second(first(x.squeezed(0)).relu())
  }

  func take(_ embeddings: Tensor) -> Bool { false }
}
