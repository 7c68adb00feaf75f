/// A tensor of the Hugging Face model and where it comes from.
struct GGUFTensorPlan {
  /// The name in the Hugging Face checkpoint.
  let name: String
  /// The tensor of the GGUF file.
  let source: GGUFTensor
  /// The size of the heads whose rows are stored in interleaved order, or nil.
  var interleavedHeadSize: Int?
  /// Whether the file has one added to every element.
  var subtractsOne = false
  /// Whether the Hugging Face checkpoint has [inputs, outputs].
  var isTransposed = false

  /// The extents in the Hugging Face checkpoint.
  var shape: [Int] { isTransposed ? source.shape.reversed() : source.shape }
}

extension GGUFModelShape {
  /// All tensors in the order of the model's layers, checked for presence, shape and type.
  ///
  /// A file with a tensor that is not among them is refused: it would be lost.
  func tensorPlans(_ file: GGUFFile) throws(CheckpointError) -> [GGUFTensorPlan] {
    var plans = GGUFTensorPlans(shape: self, file: file)
    if architecture == .gpt2 {
      try plans.addGPT2()
    } else {
      try plans.addDecoder()
    }
    try plans.checkNothingIsLeft()
    return plans.plans
  }
}

/// Plans as they are gathered.
struct GGUFTensorPlans {
  let shape: GGUFModelShape
  let file: GGUFFile
  private(set) var plans: [GGUFTensorPlan] = []

  init(shape: GGUFModelShape, file: GGUFFile) {
    self.shape = shape
    self.file = file
  }

  private mutating func add(
    _ source: String, _ name: String, _ shape: [Int], interleaved: Bool = false,
    isNorm: Bool = false, isTransposed: Bool = false
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
        name: name, source: tensor, interleavedHeadSize: interleaved ? self.shape.headSize : nil,
        subtractsOne: isNorm && self.shape.architecture.addsOneToNorms,
        isTransposed: isTransposed))
  }

  private mutating func addLinear(
    _ source: String, _ name: String, _ shape: [Int], bias: Bool, interleaved: Bool = false,
    isTransposed: Bool = false
  ) throws(CheckpointError) {
    try add(
      "\(source).weight", "\(name).weight", shape, interleaved: interleaved,
      isTransposed: isTransposed)
    if bias { try add("\(source).bias", "\(name).bias", [shape[0]], interleaved: interleaved) }
  }

  private mutating func addNorm(
    _ source: String, _ name: String, _ size: Int
  ) throws(CheckpointError) {
    try add("\(source).weight", "\(name).weight", [size], isNorm: true)
  }

  /// Everything of a model with rotary embeddings.
  mutating func addDecoder() throws(CheckpointError) {
    let hidden = shape.hiddenSize
    try add(
      "token_embd.weight", "model.embed_tokens.weight", [shape.vocabularySize, hidden])
    for layer in 0..<shape.layerCount {
      let (from, to) = ("blk.\(layer)", "model.layers.\(layer)")
      if shape.architecture != .olmo2 {
        try addNorm("\(from).attn_norm", "\(to).input_layernorm", hidden)
      }
      try addAttention(from, to)
      switch shape.architecture {
      case .olmo2:
        try addNorm("\(from).post_attention_norm", "\(to).post_attention_layernorm", hidden)
      case .gemma2, .gemma3:
        try addNorm("\(from).post_attention_norm", "\(to).post_attention_layernorm", hidden)
        try addNorm("\(from).ffn_norm", "\(to).pre_feedforward_layernorm", hidden)
      default: try addNorm("\(from).ffn_norm", "\(to).post_attention_layernorm", hidden)
      }
      try addMLP(from, to)
      if [.olmo2, .gemma2, .gemma3].contains(shape.architecture) {
        try addNorm("\(from).post_ffw_norm", "\(to).post_feedforward_layernorm", hidden)
      }
    }
    try addNorm("output_norm", "model.norm", hidden)
    if shape.hasOutput {
      try add("output.weight", "lm_head.weight", [shape.vocabularySize, hidden])
    }
  }

  private mutating func addAttention(_ from: String, _ to: String) throws(CheckpointError) {
    let (hidden, architecture) = (shape.hiddenSize, shape.architecture)
    let queries = shape.headCount * shape.headSize
    let keys = shape.keyValueHeadCount * shape.headSize
    let (bias, interleaves) = (shape.hasAttentionBias, architecture.interleavesRows)
    if architecture.isFused {
      try addLinear(
        "\(from).attn_qkv", "\(to).self_attn.qkv_proj", [queries + 2 * keys, hidden], bias: bias)
    } else {
      try addLinear(
        "\(from).attn_q", "\(to).self_attn.q_proj", [queries, hidden], bias: bias,
        interleaved: interleaves)
      try addLinear(
        "\(from).attn_k", "\(to).self_attn.k_proj", [keys, hidden], bias: bias,
        interleaved: interleaves)
      try addLinear("\(from).attn_v", "\(to).self_attn.v_proj", [keys, hidden], bias: bias)
    }
    try addLinear(
      "\(from).attn_output", "\(to).self_attn.o_proj", [hidden, queries],
      bias: bias && [.llama, .granite].contains(architecture))
    if [.qwen3, .gemma3, .olmo2].contains(architecture) {
      let isWhole = architecture == .olmo2
      try addNorm(
        "\(from).attn_q_norm", "\(to).self_attn.q_norm", isWhole ? queries : shape.headSize)
      try addNorm(
        "\(from).attn_k_norm", "\(to).self_attn.k_norm", isWhole ? keys : shape.headSize)
    }
  }

  private mutating func addMLP(_ from: String, _ to: String) throws(CheckpointError) {
    let (hidden, inner, bias) = (shape.hiddenSize, shape.feedForwardSize, shape.hasFeedForwardBias)
    if shape.architecture.isFused {
      try addLinear("\(from).ffn_up", "\(to).mlp.gate_up_proj", [2 * inner, hidden], bias: bias)
    } else {
      try addLinear("\(from).ffn_gate", "\(to).mlp.gate_proj", [inner, hidden], bias: bias)
      try addLinear("\(from).ffn_up", "\(to).mlp.up_proj", [inner, hidden], bias: bias)
    }
    try addLinear("\(from).ffn_down", "\(to).mlp.down_proj", [hidden, inner], bias: bias)
  }

  /// Everything of a GPT-2, whose matrices Hugging Face's files have transposed.
  mutating func addGPT2() throws(CheckpointError) {
    let (hidden, inner) = (shape.hiddenSize, shape.feedForwardSize)
    func bothOf(_ source: String, _ name: String) -> [(String, String)] {
      ["weight", "bias"].map { ("\(source).\($0)", "\(name).\($0)") }
    }
    try add("token_embd.weight", "transformer.wte.weight", [shape.vocabularySize, hidden])
    try add("position_embd.weight", "transformer.wpe.weight", [shape.contextLength, hidden])
    for layer in 0..<shape.layerCount {
      let (from, to) = ("blk.\(layer)", "transformer.h.\(layer)")
      for (source, name) in bothOf("\(from).attn_norm", "\(to).ln_1") {
        try add(source, name, [hidden])
      }
      for (source, name, outputs, inputs) in [
        ("attn_qkv", "attn.c_attn", 3 * hidden, hidden),
        ("attn_output", "attn.c_proj", hidden, hidden),
      ] {
        try addLinear(
          "\(from).\(source)", "\(to).\(name)", [outputs, inputs], bias: true, isTransposed: true)
      }
      for (source, name) in bothOf("\(from).ffn_norm", "\(to).ln_2") {
        try add(source, name, [hidden])
      }
      for (source, name, outputs, inputs) in [
        ("ffn_up", "mlp.c_fc", inner, hidden), ("ffn_down", "mlp.c_proj", hidden, inner),
      ] {
        try addLinear(
          "\(from).\(source)", "\(to).\(name)", [outputs, inputs], bias: true, isTransposed: true)
      }
    }
    for (source, name) in bothOf("output_norm", "transformer.ln_f") {
      try add(source, name, [hidden])
    }
    if shape.hasOutput {
      try add("output.weight", "lm_head.weight", [shape.vocabularySize, hidden])
    }
  }

  func checkNothingIsLeft() throws(CheckpointError) {
    var known = Set(plans.map { UTF8Key($0.source.name) })
    // Positions, which are read apart.
    for name in ["rope_freqs", "rope_factors_long", "rope_factors_short"] {
      known.insert(UTF8Key("\(name).weight"))
    }
    for tensor in file.tensors
    where !known.contains(UTF8Key(tensor.name)) && !tensor.name.hasSuffix(".attn_rot_embd") {
      throw .unsupported(
        path: file.path,
        what: "tensor \(quoted(tensor.name)) of architecture \(shape.architecture.rawValue)",
        supported: ["the tensors of \(GGUFArchitecture.allCases.map(\.rawValue))"])
    }
  }
}
