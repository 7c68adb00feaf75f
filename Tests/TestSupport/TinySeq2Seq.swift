import Checkpoints
import Foundation
public import JSONValues
public import Tensors

/// The directory of a small model with encoder and decoder, with random weights and a byte-level
/// tokenizer that ends texts with `</s>`.
///
/// Ids 0 to 255 are bytes in the order of their values; then come `<pad>`, `</s>` and `<s>`.
public struct TinySeq2Seq {
  /// Whether it is a BART, which has learned positions and biases, instead of a T5.
  public var isBART = false
  /// Width of the residual stream.
  public var hiddenSize = 16
  /// Width inside the MLP.
  public var intermediateSize = 24
  /// Blocks of each stack.
  public var layerCount = 2
  /// Longest row of a BART in tokens.
  public var maximumLength = 96
  /// Start of the random weights.
  public var seed: UInt64 = 1
  /// Tokens of the vocabulary.
  public let vocabularySize = 260
  /// Fills rows, and begins what a T5 writes.
  public static let padding = 256
  /// Ends texts, and begins what a BART writes.
  public static let end = 257

  /// Makes a description with the default sizes.
  public init() {}

  /// Makes a description that differs from the default one.
  public init(_ change: (inout TinySeq2Seq) -> Void) {
    self.init()
    change(&self)
  }

  /// Writes the directory: configuration, weights, tokenizer.
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
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "pad_token": "<pad>",
      ])
    try SafetensorsWriter.save(directory + "/model.safetensors", tensors: weights)
  }

  private static let tokenizer = TinyModel.byteTokenizer(
    special: ["<pad>", "</s>", "<s>"],
    postProcessor: [
      "type": "TemplateProcessing", "pair": [],
      "single": [
        ["Sequence": ["id": "A", "type_id": 0]], ["SpecialToken": ["id": "</s>", "type_id": 0]],
      ],
      "special_tokens": ["</s>": ["id": "</s>", "ids": [257], "tokens": ["</s>"]]],
    ])

  /// The content of `config.json`.
  public var configuration: JSON {
    let (layers, inner) = (JSON.integer(layerCount), JSON.integer(intermediateSize))
    guard isBART else {
      return [
        "model_type": "t5", "architectures": ["T5ForConditionalGeneration"],
        "is_encoder_decoder": true, "vocab_size": .integer(vocabularySize),
        "d_model": .integer(hiddenSize), "d_kv": 4, "d_ff": inner, "num_layers": layers,
        "num_decoder_layers": layers, "num_heads": 4, "feed_forward_proj": "relu",
        "relative_attention_num_buckets": 8, "relative_attention_max_distance": 20,
        "layer_norm_epsilon": 1e-6, "tie_word_embeddings": true, "pad_token_id": 256,
        "eos_token_id": 257, "decoder_start_token_id": 256, "dtype": "float32",
      ]
    }
    return [
      "model_type": "bart", "architectures": ["BartForConditionalGeneration"],
      "is_encoder_decoder": true, "vocab_size": .integer(vocabularySize),
      "d_model": .integer(hiddenSize), "encoder_layers": layers, "decoder_layers": layers,
      "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": inner,
      "decoder_ffn_dim": inner, "activation_function": "gelu",
      "max_position_embeddings": .integer(maximumLength), "scale_embedding": false,
      "pad_token_id": 256, "bos_token_id": 258, "eos_token_id": 257,
      "decoder_start_token_id": 257, "dtype": "float32",
    ]
  }

  /// Names, shapes and numbers of the weights.
  public var weights: [(name: String, tensor: Tensor)] {
    let generator = Generator(seed: seed)
    return (isBART ? bartShapes : t5Shapes).map { name, shape in
      let noise = Tensor.randomNormal(shape, generator: generator)
      let isNorm = name.contains("norm") && name.hasSuffix("weight")
      return (name, isNorm ? noise * 0.2 + 1.0 : noise * 0.2)
    }
  }

  private var t5Shapes: [(String, [Int])] {
    let (hidden, inner, heads) = (hiddenSize, intermediateSize, 4)
    var shapes = [("shared.weight", [vocabularySize, hidden])]
    for stack in ["encoder", "decoder"] {
      shapes.append(
        (
          "\(stack).block.0.layer.0.SelfAttention.relative_attention_bias.weight", [8, heads]
        ))
      shapes.append(("\(stack).final_layer_norm.weight", [hidden]))
      for block in 0..<layerCount {
        let path = "\(stack).block.\(block).layer."
        let attentions =
          stack == "encoder" ? ["0.SelfAttention"] : ["0.SelfAttention", "1.EncDecAttention"]
        for attention in attentions {
          for name in ["q", "k", "v"] {
            shapes.append(("\(path)\(attention).\(name).weight", [4 * heads, hidden]))
          }
          shapes.append(("\(path)\(attention).o.weight", [hidden, 4 * heads]))
        }
        let last = attentions.count
        shapes.append(("\(path)\(last).DenseReluDense.wi.weight", [inner, hidden]))
        shapes.append(("\(path)\(last).DenseReluDense.wo.weight", [hidden, inner]))
        for part in 0...last { shapes.append(("\(path)\(part).layer_norm.weight", [hidden])) }
      }
    }
    return shapes
  }

  private var bartShapes: [(String, [Int])] {
    let (hidden, inner) = (hiddenSize, intermediateSize)
    var shapes = [
      ("model.shared.weight", [vocabularySize, hidden]),
      ("final_logits_bias", [1, vocabularySize]),
    ]
    func add(_ path: String, _ outputs: Int, _ inputs: Int) {
      shapes.append((path + ".weight", [outputs, inputs]))
      shapes.append((path + ".bias", [outputs]))
    }
    func addNorm(_ path: String) {
      shapes.append((path + ".weight", [hidden]))
      shapes.append((path + ".bias", [hidden]))
    }
    for stack in ["encoder", "decoder"] {
      shapes.append(("model.\(stack).embed_positions.weight", [maximumLength + 2, hidden]))
      addNorm("model.\(stack).layernorm_embedding")
      for layer in 0..<layerCount {
        let path = "model.\(stack).layers.\(layer)."
        for attention in stack == "encoder" ? ["self_attn"] : ["self_attn", "encoder_attn"] {
          for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            add("\(path)\(attention).\(name)", hidden, hidden)
          }
          addNorm("\(path)\(attention)_layer_norm")
        }
        add(path + "fc1", inner, hidden)
        add(path + "fc2", hidden, inner)
        addNorm(path + "final_layer_norm")
      }
    }
    return shapes
  }
}
