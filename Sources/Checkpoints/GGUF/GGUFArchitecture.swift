/// The model families that are imported, by their name in `general.architecture`.
///
/// Mistral models are written as `llama` and come out as such: the computation is the same but for
/// the sliding window of the oldest ones, which GGUF does not keep for this architecture.
enum GGUFArchitecture: String, CaseIterable {
  case llama
  case qwen2
  case qwen3
  case gemma
  case gemma2
  case gemma3
  case phi3
  case granite
  case smollm3
  case olmo2
  case gpt2

  init(named name: String, _ file: GGUFFile) throws(CheckpointError) {
    guard let architecture = GGUFArchitecture(rawValue: name) else {
      throw .unsupported(
        path: file.path, what: "architecture \(quoted(name))",
        supported: Self.allCases.map(\.rawValue))
    }
    self = architecture
  }

  /// Whether llama.cpp rotates neighbouring elements of a head, so that rows of q and k stand in
  /// another order than in Hugging Face's files.
  var interleavesRows: Bool { [.llama, .granite, .smollm3].contains(self) }

  /// Whether weights of norms are stored with one added.
  var addsOneToNorms: Bool { [.gemma, .gemma2, .gemma3].contains(self) }

  /// Whether q, k and v are one matrix, and gate and up another.
  var isFused: Bool { self == .phi3 }

  /// `model_type` of config.json.
  var modelType: String { self == .gemma3 ? "gemma3_text" : rawValue }

  /// The class in transformers.
  var className: String {
    switch self {
    case .llama: "LlamaForCausalLM"
    case .qwen2: "Qwen2ForCausalLM"
    case .qwen3: "Qwen3ForCausalLM"
    case .gemma: "GemmaForCausalLM"
    case .gemma2: "Gemma2ForCausalLM"
    case .gemma3: "Gemma3ForCausalLM"
    case .phi3: "Phi3ForCausalLM"
    case .granite: "GraniteForCausalLM"
    case .smollm3: "SmolLM3ForCausalLM"
    case .olmo2: "Olmo2ForCausalLM"
    case .gpt2: "GPT2LMHeadModel"
    }
  }
}
