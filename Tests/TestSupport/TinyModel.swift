import Checkpoints
import Foundation
public import JSONValues
public import Tensors

/// A model directory with random weights and a byte-level tokenizer, small enough for unit tests.
///
/// Ids 0 to 255 are bytes in the order of their values; then come `<|endoftext|>`, `<|im_start|>`
/// and `<|im_end|>`.
public struct TinyModel {
  /// Width of the residual stream.
  public var hiddenSize = 16
  /// Width inside the MLP.
  public var intermediateSize = 24
  /// Blocks.
  public var layerCount = 2
  /// Longest sequence in tokens.
  public var maximumLength = 128
  /// Whether the head is the embedding table.
  public var tiesEmbeddings = true
  /// Whether it is a GPT-2, whose matrices are stored as [inputs, outputs], instead of a Llama.
  public var isGPT2 = false
  /// Start of the random weights.
  public var seed: UInt64 = 1
  /// Tokens of the vocabulary.
  public let vocabularySize = 260

  /// Makes a description with the default sizes.
  public init() {}

  /// Makes a description that differs from the default one.
  public init(_ change: (inout TinyModel) -> Void) {
    self.init()
    change(&self)
  }

  /// Writes the directory: configuration, weights, tokenizer, chat template.
  public func write(to directory: String) throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    func put(_ name: String, _ json: JSON) throws {
      try Data(json.serialized(indent: 2).utf8)
        .write(to: URL(fileURLWithPath: directory + "/" + name))
    }
    try put("config.json", configuration)
    try put("tokenizer.json", Self.tokenizer)
    try put(
      "tokenizer_config.json",
      [
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>",
        "bos_token": nil, "model_max_length": .integer(maximumLength),
        "chat_template": .string(Self.chatTemplate),
      ])
    try put("generation_config.json", ["eos_token_id": 256])
    try SafetensorsWriter.save(directory + "/model.safetensors", tensors: weights)
  }

  /// The content of `config.json`.
  public var configuration: JSON {
    guard !isGPT2 else {
      return [
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"],
        "vocab_size": .integer(vocabularySize), "n_embd": .integer(hiddenSize),
        "n_inner": .integer(intermediateSize), "n_layer": .integer(layerCount), "n_head": 4,
        "n_positions": .integer(maximumLength), "tie_word_embeddings": .bool(tiesEmbeddings),
        "eos_token_id": 256, "dtype": "float32",
      ]
    }
    return [
      "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
      "vocab_size": .integer(vocabularySize), "hidden_size": .integer(hiddenSize),
      "intermediate_size": .integer(intermediateSize), "num_hidden_layers": .integer(layerCount),
      "num_attention_heads": 4, "num_key_value_heads": 2,
      "max_position_embeddings": .integer(maximumLength), "rms_norm_eps": 1e-5,
      "rope_theta": 10000.0, "tie_word_embeddings": .bool(tiesEmbeddings),
      "eos_token_id": 256, "pad_token_id": 256, "dtype": "float32",
    ]
  }

  /// Names, shapes and numbers of the weights.
  public var weights: [(name: String, tensor: Tensor)] {
    let generator = Generator(seed: seed)
    return (isGPT2 ? gpt2Shapes : llamaShapes).map { name, shape in
      let noise = Tensor.randomNormal(shape, generator: generator)
      return (name, shape.count == 1 ? noise * 0.2 + 1.0 : noise * 0.2)
    }
  }

  private var gpt2Shapes: [(String, [Int])] {
    let (hidden, inner) = (hiddenSize, intermediateSize)
    var shapes = [
      ("transformer.wte.weight", [vocabularySize, hidden]),
      ("transformer.wpe.weight", [maximumLength, hidden]),
      ("transformer.ln_f.weight", [hidden]), ("transformer.ln_f.bias", [hidden]),
    ]
    if !tiesEmbeddings { shapes.append(("lm_head.weight", [vocabularySize, hidden])) }
    for layer in 0..<layerCount {
      for (name, inputs, outputs) in [
        ("attn.c_attn", hidden, 3 * hidden), ("attn.c_proj", hidden, hidden),
        ("mlp.c_fc", hidden, inner), ("mlp.c_proj", inner, hidden),
      ] {
        shapes.append(("transformer.h.\(layer).\(name).weight", [inputs, outputs]))
        shapes.append(("transformer.h.\(layer).\(name).bias", [outputs]))
      }
      for name in ["ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"] {
        shapes.append(("transformer.h.\(layer).\(name)", [hidden]))
      }
    }
    return shapes
  }

  private var llamaShapes: [(String, [Int])] {
    let (hidden, inner, half) = (hiddenSize, intermediateSize, hiddenSize / 2)
    var shapes = [
      ("model.embed_tokens.weight", [vocabularySize, hidden]), ("model.norm.weight", [hidden]),
    ]
    if !tiesEmbeddings { shapes.append(("lm_head.weight", [vocabularySize, hidden])) }
    for layer in 0..<layerCount {
      let path = "model.layers.\(layer)."
      shapes += [
        (path + "input_layernorm.weight", [hidden]),
        (path + "post_attention_layernorm.weight", [hidden]),
        (path + "self_attn.q_proj.weight", [hidden, hidden]),
        (path + "self_attn.k_proj.weight", [half, hidden]),
        (path + "self_attn.v_proj.weight", [half, hidden]),
        (path + "self_attn.o_proj.weight", [hidden, hidden]),
        (path + "mlp.gate_proj.weight", [inner, hidden]),
        (path + "mlp.up_proj.weight", [inner, hidden]),
        (path + "mlp.down_proj.weight", [hidden, inner]),
      ]
    }
    return shapes
  }

  private static let chatTemplate =
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    + "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

  /// The characters by which byte-level tokenizers write the bytes.
  private static let byteCharacters: [String] = {
    var next: UInt32 = 256
    return (UInt32(0)..<256).map { byte in
      let isPrintable =
        (33...126).contains(byte) || (161...172).contains(byte) || (174...255).contains(byte)
      defer { if !isPrintable { next += 1 } }
      return Unicode.Scalar(isPrintable ? byte : next).map { String(Character($0)) } ?? ""
    }
  }()

  private static let tokenizer = byteTokenizer(
    special: ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])

  /// A `tokenizer.json` whose ids 0 to 255 are bytes, with special tokens behind them.
  static func byteTokenizer(special: [String], postProcessor: JSON = nil) -> JSON {
    let names = byteCharacters + special
    let byteLevel: JSON = [
      "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    ]
    return [
      "version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil,
      "pre_tokenizer": byteLevel, "decoder": byteLevel,
      "post_processor": postProcessor,
      "added_tokens": .array(
        special.enumerated().map { index, name in
          [
            "id": .integer(256 + index), "content": .string(name), "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
          ]
        }),
      "model": [
        "type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
        "end_of_word_suffix": nil, "fuse_unk": false, "byte_fallback": false, "merges": [],
        "vocab": .object(
          JSONObject(names.enumerated().map { ($0.element, .integer($0.offset)) })),
      ],
    ]
  }
}
