/// Where a layer is in a GGUF file, and what is done to its rows.
public struct GGUFLayerPlace: Equatable, Sendable {
  /// The name without `.weight` or `.bias`, such as `blk.0.attn_q`.
  public let name: String
  /// The number of heads whose rows change places, or nil.
  public let interleavedHeads: Int?
  /// Whether it is a norm of the residual stream or of heads.
  public let isNorm: Bool
}

/// What layers of a decoder are called in GGUF files.
public struct GGUFLayerNames: Sendable {
  /// `general.architecture` of the file.
  public let architecture: String
  /// Whether the output head is the embedding table.
  public let isHeadTied: Bool

  private let names: DecoderNames
  private let parts: [String: String]
  private let norms: Set<String>
  private let model: DecoderConfiguration
  private let interleavesRows: Bool

  /// Names for a model.
  ///
  /// - Parameters:
  ///   - model: Shape and switches.
  ///   - path: What messages call it.
  /// - Throws: ``ModelError/unsupported(path:what:supported:)`` when it has no GGUF file.
  public init(_ model: DecoderConfiguration, path: String) throws(ModelError) {
    self.init(model, try GGUFExportArchitecture.of(model, path: path))
  }

  init(_ model: DecoderConfiguration, _ architecture: GGUFExportArchitecture) {
    self.model = model
    self.architecture = architecture.name
    isHeadTied = model.tiesEmbeddings
    interleavesRows = architecture.interleavesRows
    names = model.names
    var parts: [String: String] = [:]
    let (attention, mlp) = (names.attention + ".", names.mlp + ".")
    if let fused = names.fusedProjections {
      parts[attention + fused] = "attn_qkv"
    } else {
      parts[attention + names.query] = "attn_q"
      parts[attention + names.key] = "attn_k"
      parts[attention + names.value] = "attn_v"
    }
    parts[attention + names.attentionOutput] = "attn_output"
    // A fused gate with what it gates is called after the latter.
    if let gate = names.gate, names.fusedGate == nil { parts[mlp + gate] = "ffn_gate" }
    parts[mlp + (names.fusedGate ?? names.up)] = "ffn_up"
    parts[mlp + names.down] = "ffn_down"
    var norms = [
      attention + names.queryNorm: "attn_q_norm", attention + names.keyNorm: "attn_k_norm",
    ]
    for (name, place) in [
      (names.attentionNorm, "attn_norm"), (names.attentionOutputNorm, "post_attention_norm"),
      (names.mlpNorm, "ffn_norm"), (names.mlpOutputNorm, "post_ffw_norm"),
    ] {
      if let name { norms[name] = place }
    }
    self.norms = Set(norms.values)
    self.parts = parts.merging(norms) { part, _ in part }
  }

  /// Where a layer of the model goes.
  ///
  /// - Parameter path: The layer's path, such as `model.layers.0.self_attn.q_proj`.
  /// - Returns: Its place, or nil for a layer that no GGUF file has.
  public func place(of path: String) -> GGUFLayerPlace? {
    func plain(_ name: String, isNorm: Bool = false) -> GGUFLayerPlace {
      GGUFLayerPlace(name: name, interleavedHeads: nil, isNorm: isNorm)
    }
    if path == "lm_head" { return plain("output") }
    guard path.hasPrefix(names.decoder + ".") else { return nil }
    let inside = path.dropFirst(names.decoder.count + 1)
    if inside == names.embedding { return plain("token_embd") }
    if let positions = names.positions, inside == positions { return plain("position_embd") }
    if inside == names.finalNorm { return plain("output_norm", isNorm: true) }
    guard inside.hasPrefix(names.layers + ".") else { return nil }
    let words = inside.dropFirst(names.layers.count + 1).split(separator: ".", maxSplits: 1)
    guard words.count == 2, let layer = Int(words[0]), let part = parts[String(words[1])] else {
      return nil
    }
    let heads = ["attn_q": model.headCount, "attn_k": model.keyValueHeadCount][part]
    return GGUFLayerPlace(
      name: "blk.\(layer).\(part)", interleavedHeads: interleavesRows ? heads : nil,
      isNorm: norms.contains(part))
  }
}
