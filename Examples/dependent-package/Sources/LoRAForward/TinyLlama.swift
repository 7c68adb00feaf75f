import Foundation
import Graft

/// A Llama checkpoint of two layers with random weights, in Hugging Face's files.
struct TinyLlama {
  let vocabulary = 32
  let hidden = 16
  let intermediate = 24
  let layers = 2

  /// Names and shapes of the weights, in a fixed order.
  private var shapes: [(name: String, shape: [Int])] {
    var shapes = [
      ("model.embed_tokens.weight", [vocabulary, hidden]),
      ("model.norm.weight", [hidden]),
      ("lm_head.weight", [vocabulary, hidden]),
    ]
    for layer in 0..<layers {
      let path = "model.layers.\(layer)."
      shapes += [
        (path + "input_layernorm.weight", [hidden]),
        (path + "post_attention_layernorm.weight", [hidden]),
        (path + "self_attn.q_proj.weight", [hidden, hidden]),
        (path + "self_attn.k_proj.weight", [hidden / 2, hidden]),
        (path + "self_attn.v_proj.weight", [hidden / 2, hidden]),
        (path + "self_attn.o_proj.weight", [hidden, hidden]),
        (path + "mlp.gate_proj.weight", [intermediate, hidden]),
        (path + "mlp.up_proj.weight", [intermediate, hidden]),
        (path + "mlp.down_proj.weight", [hidden, intermediate]),
      ]
    }
    return shapes
  }

  /// Writes `config.json` and `model.safetensors`; the same weights every time.
  ///
  /// - Parameters:
  ///   - directory: Made if it is not there.
  ///   - updates: What is added to single weights, by name.
  /// - Throws: When a file cannot be written.
  func write(to directory: String, adding updates: [String: Tensor] = [:]) throws {
    try FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: true)
    let configuration = """
      {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": \(vocabulary),
       "hidden_size": \(hidden), "intermediate_size": \(intermediate), "num_hidden_layers": \(layers),
       "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
       "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
       "tie_word_embeddings": false, "dtype": "float32"}
      """
    try Data(configuration.utf8).write(to: URL(fileURLWithPath: directory + "/config.json"))
    let generator = Generator(seed: 1)
    var tensors: [(name: String, tensor: Tensor)] = []
    for (name, shape) in shapes {
      let weight =
        shape.count == 1
        ? Tensor.ones(shape) : Tensor.randomNormal(shape, generator: generator) * 0.3
      tensors.append((name, updates[name].map { weight + $0 } ?? weight))
    }
    try SafetensorsWriter.save(directory + "/model.safetensors", tensors: tensors)
  }
}
