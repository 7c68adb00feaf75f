import JSONValues
import Layers
import Models
import Tensors

/// Configuration of adaption prompts (LLaMA-Adapter): in each of the last blocks, what the queries gather
/// from learned tokens is added to what they gather from the row, times a gate that begins at zero.
///
/// With q the rotated queries and P the block's learned tokens `[len, hidden]`:
/// o_proj(attention + g softmax(q (k_proj P)^T / sqrt(d)) (v_proj P)).
///
/// PEFT 0.21.2 adds the bias of o_proj a second time where the model has one, so that a new adapter is
/// not the base there; here it counts once. Key/value heads are those of the model, which PEFT works out
/// from the widths of its layers. Only Llama and Mistral, as in PEFT.
///
/// Source: Zhang et al. 2023, arXiv 2303.16199. Defaults are those of PEFT 0.21.2.
public struct AdaptionPromptConfig: AdapterConfiguration {
  /// PEFT's name of the method.
  public static let type = "ADAPTION_PROMPT"

  /// Task and base.
  public var origin = AdapterOrigin()
  /// Name of the attention blocks; nil for "self_attn".
  public var targetModules: String?
  /// PEFT's `adapter_len`: learned tokens of a block; it has to be given.
  public var length: Int?
  /// PEFT's `adapter_layers`: how many of the last blocks have some; it has to be given.
  public var layerCount: Int?

  /// Makes a configuration with PEFT's defaults, which says nothing of length and blocks.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - length: Learned tokens of a block, positive.
  ///   - layers: How many of the last blocks have some, positive.
  public init(length: Int, layers: Int) {
    self.length = length
    layerCount = layers
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .string("target_modules", \.targetModules), .integer("adapter_len", \.length),
      .integer("adapter_layers", \.layerCount),
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    for (key, value) in [("adapter_len", length), ("adapter_layers", layerCount)] {
      try require(
        key, (value ?? 0) > 0, "a positive number", value.map(String.init) ?? "none")
    }
  }
}

extension AdaptionPromptConfig {
  /// Finds the blocks and makes their prompts.
  ///
  /// - Parameters:
  ///   - model: The model; not changed.
  ///   - generator: Source of the initial numbers.
  ///   - isLoading: Whether a file's numbers follow.
  ///   - dtype: Type of the numbers; nil for the usual one.
  /// - Returns: Paths, blocks and what each gets.
  /// - Throws: ``AdapterError`` when the model has no such blocks.
  func prompts(
    for model: any Module, _ generator: Generator, isLoading: Bool, dtype: DType?
  ) throws(AdapterError) -> [(path: String, block: any ExtensibleAttention, AdaptionPrompt)] {
    let modelType = (model as? any AdaptableModel)?.modelType ?? "unknown"
    guard ["llama", "mistral"].contains(modelType) else {
      throw .impossible(
        method: Self.type, what: "put into a model of type \(modelType), only llama and mistral")
    }
    let name = targetModules ?? "self_attn"
    let blocks = model.modules().compactMap { path, module in
      // One matrix of queries, keys and values has no key and value projections to attend with.
      (module as? any ExtensibleAttention).flatMap { $0.isExtensible ? (path, $0) : nil }
    }
    let found = blocks.filter { $0.0.hasSuffix("." + name) }
    guard !found.isEmpty else {
      let known = Set(blocks.compactMap { $0.0.split(separator: ".").last.map(String.init) })
      throw .noSuchModules(names: [name], known: known.sorted())
    }
    let (count, length) = (layerCount ?? 0, length ?? 0)
    try require(
      "adapter_layers", count <= found.count, "at most \(found.count), the model's blocks", count)
    return found.suffix(count).map { path, block in
      let source = AttentionSource(block, generator, isLoading: isLoading, dtype: dtype)
      return (
        path, block,
        AdaptionPrompt(
          prompt: source.normal([1, length, block.inputSize]), gate: source.zeros([1]),
          headSize: block.headSize)
      )
    }
  }

  /// The configuration as PEFT saves it.
  var filled: Self {
    var result = self
    result.targetModules = targetModules ?? "self_attn"
    return result
  }
}

/// Where a block's parameters go.
private struct AttentionSource: ParameterSource {
  let generator: Generator
  let dtype: DType
  let device: Device
  let isLoading: Bool

  init(
    _ block: any ExtensibleAttention, _ generator: Generator, isLoading: Bool, dtype wanted: DType?
  ) {
    self.generator = generator
    self.isLoading = isLoading
    dtype = wanted ?? .computing(block.dtype)
    device = block.device
  }
}

/// Learned tokens that queries of one block gather from.
final class AdaptionPrompt: AttentionExtension {
  private(set) var prompt: Parameter  // [1, len, hidden]
  private(set) var gate: Parameter  // [1]
  let headSize: Int

  init(prompt: Parameter, gate: Parameter, headSize: Int) {
    self.prompt = prompt
    self.gate = gate
    self.headSize = headSize
  }

  var name: String { "adaption" }

  var parameters: [AdapterParameter] {
    [AdapterParameter("adaption_prompt", prompt), AdapterParameter("adaption_gate", gate)]
  }

  func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    prompt = transform("adaption_prompt", prompt)
    gate = transform("adaption_gate", gate)
  }

  func callAsFunction(query: Tensor, key: Linear, value: Linear) -> Tensor {
    let tokens = prompt.value.to(query.dtype)
    func heads(_ layer: Linear) -> Tensor {
      let split = layer(tokens).reshaped([1, tokens.size(1), -1, headSize]).transposed(1, 2)
      let group = query.size(1) / split.size(1)
      return group == 1 ? split : split.repeatedInterleaved(group, dimension: 1)  // [1, H, len, D]
    }
    let scores = query.matrixProduct(heads(key).transposed()) / Double(headSize).squareRoot()
    let weights = gate.value * scores.softmax(dtype: gate.value.dtype)  // [B, H, L, len]
    return weights.matrixProduct(heads(value).to(weights.dtype)).to(query.dtype)
  }
}
