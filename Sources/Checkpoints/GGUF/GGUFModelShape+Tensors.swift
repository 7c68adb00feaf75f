/// A tensor of the Hugging Face model and where it comes from.
struct GGUFTensorPlan {
  /// The name in the Hugging Face checkpoint.
  let name: String
  /// The tensor of the GGUF file.
  let source: GGUFTensor
  /// The size of the heads whose rows are stored in interleaved order, or nil.
  let interleavedHeadSize: Int?
}

extension GGUFModelShape {
  /// All tensors in the order of the model's layers, checked for presence, shape and type.
  ///
  /// A file with a tensor that is not among them is refused: it would be lost.
  func tensorPlans(_ file: GGUFFile) throws(CheckpointError) -> [GGUFTensorPlan] {
    var plans: [GGUFTensorPlan] = []
    func add(
      _ source: String, _ name: String, _ shape: [Int], interleaved: Bool = false
    ) throws(CheckpointError) {
      guard let tensor = file.tensor(named: source) else {
        throw .lacks(path: file.path, what: "tensor \(quoted(source))")
      }
      guard tensor.shape == shape else {
        throw .mismatch(
          path: file.path, what: "the shape of tensor \(quoted(source))", expected: "\(shape)",
          actual: "\(tensor.shape)")
      }
      guard GGUFTensorType.dequantizable.contains(tensor.type) else {
        throw .unsupported(
          path: file.path, what: "type \(tensor.type.name) of tensor \(quoted(source))",
          supported: GGUFTensorType.dequantizable.map(\.name))
      }
      plans.append(
        GGUFTensorPlan(
          name: name, source: tensor, interleavedHeadSize: interleaved ? headSize : nil))
    }
    func addLinear(
      _ source: String, _ name: String, _ shape: [Int], bias: Bool, interleaved: Bool = false
    ) throws(CheckpointError) {
      try add("\(source).weight", "\(name).weight", shape, interleaved: interleaved)
      if bias { try add("\(source).bias", "\(name).bias", [shape[0]], interleaved: interleaved) }
    }

    let queries = headCount * headSize
    let keys = keyValueHeadCount * headSize
    let interleaves = architecture == .llama
    let outputBias = architecture == .llama && hasAttentionBias
    try add("token_embd.weight", "model.embed_tokens.weight", [vocabularySize, hiddenSize])
    for layer in 0..<layerCount {
      let from = "blk.\(layer)"
      let to = "model.layers.\(layer)"
      try add("\(from).attn_norm.weight", "\(to).input_layernorm.weight", [hiddenSize])
      try addLinear(
        "\(from).attn_q", "\(to).self_attn.q_proj", [queries, hiddenSize], bias: hasAttentionBias,
        interleaved: interleaves)
      try addLinear(
        "\(from).attn_k", "\(to).self_attn.k_proj", [keys, hiddenSize], bias: hasAttentionBias,
        interleaved: interleaves)
      try addLinear(
        "\(from).attn_v", "\(to).self_attn.v_proj", [keys, hiddenSize], bias: hasAttentionBias)
      try addLinear(
        "\(from).attn_output", "\(to).self_attn.o_proj", [hiddenSize, queries], bias: outputBias)
      try add("\(from).ffn_norm.weight", "\(to).post_attention_layernorm.weight", [hiddenSize])
      try addLinear(
        "\(from).ffn_gate", "\(to).mlp.gate_proj", [feedForwardSize, hiddenSize],
        bias: hasFeedForwardBias)
      try addLinear(
        "\(from).ffn_up", "\(to).mlp.up_proj", [feedForwardSize, hiddenSize],
        bias: hasFeedForwardBias)
      try addLinear(
        "\(from).ffn_down", "\(to).mlp.down_proj", [hiddenSize, feedForwardSize],
        bias: hasFeedForwardBias)
    }
    try add("output_norm.weight", "model.norm.weight", [hiddenSize])
    if hasOutput { try add("output.weight", "lm_head.weight", [vocabularySize, hiddenSize]) }
    try checkNothingIsLeft(file, plans)
    return plans
  }

  private func checkNothingIsLeft(
    _ file: GGUFFile, _ plans: [GGUFTensorPlan]
  ) throws(CheckpointError) {
    var known = Set(plans.map { UTF8Key($0.source.name) })
    known.insert(UTF8Key("rope_freqs.weight"))
    for tensor in file.tensors
    where !known.contains(UTF8Key(tensor.name)) && !tensor.name.hasSuffix(".attn_rot_embd") {
      throw .unsupported(
        path: file.path,
        what: "tensor \(quoted(tensor.name)) of architecture \(architecture.rawValue)",
        supported: ["the tensors of \(GGUFArchitecture.allCases.map(\.rawValue))"])
    }
  }
}
