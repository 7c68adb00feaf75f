import Checkpoints
import Foundation
import JSONValues
import Tensors

/// A BERT with random weights and a tokenizer of single letters and words, small enough for unit tests.
///
/// Words are single letters and "unk"; ids 0 to 4 are [PAD], [CLS], [SEP], [MASK] and [UNK].
public struct TinyEncoder {
  /// Share of dropped elements everywhere.
  public var dropout = 0.0
  /// Longest sequence in tokens.
  public var maximumLength = 48
  /// Width of the residual stream.
  public let hiddenSize = 16
  /// Words of the tokenizer behind the special ones.
  public static let letters = (97...122).map { String(UnicodeScalar(UInt8($0))) }

  /// Makes a description.
  ///
  /// - Parameter dropout: Share of dropped elements everywhere.
  public init(dropout: Double = 0) { self.dropout = dropout }

  private static let special = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]
  private var vocabulary: [String] { Self.special + Self.letters }

  /// Writes the directory: configuration, weights with a head over the vocabulary, tokenizer.
  public func write(to directory: String) throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    func put(_ name: String, _ json: JSON) throws {
      try Data(json.serialized(indent: 2).utf8)
        .write(to: URL(fileURLWithPath: directory + "/" + name))
    }
    try put("config.json", configuration)
    try put("tokenizer.json", tokenizer)
    try put(
      "tokenizer_config.json",
      [
        "tokenizer_class": "BertTokenizerFast", "pad_token": "[PAD]", "cls_token": "[CLS]",
        "sep_token": "[SEP]", "mask_token": "[MASK]", "unk_token": "[UNK]",
        "model_max_length": .integer(maximumLength),
      ])
    try SafetensorsWriter.save(directory + "/model.safetensors", tensors: weights)
  }

  private var configuration: JSON {
    [
      "model_type": "bert", "architectures": ["BertForMaskedLM"],
      "vocab_size": .integer(vocabulary.count), "hidden_size": .integer(hiddenSize),
      "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
      "max_position_embeddings": .integer(maximumLength), "type_vocab_size": 2, "pad_token_id": 0,
      "hidden_dropout_prob": .number(dropout), "attention_probs_dropout_prob": .number(dropout),
      "dtype": "float32",
    ]
  }

  private var weights: [(name: String, tensor: Tensor)] {
    let generator = Generator(seed: 3)
    let (hidden, inner) = (hiddenSize, 24)
    var shapes: [(String, [Int])] = [
      ("bert.embeddings.word_embeddings.weight", [vocabulary.count, hidden]),
      ("bert.embeddings.position_embeddings.weight", [maximumLength, hidden]),
      ("bert.embeddings.token_type_embeddings.weight", [2, hidden]),
      ("cls.predictions.bias", [vocabulary.count]),
    ]
    func linear(_ name: String, _ shape: [Int]) {
      shapes += [(name + ".weight", shape), (name + ".bias", [shape[0]])]
    }
    linear("bert.embeddings.LayerNorm", [hidden])
    linear("cls.predictions.transform.dense", [hidden, hidden])
    linear("cls.predictions.transform.LayerNorm", [hidden])
    for layer in 0..<2 {
      let path = "bert.encoder.layer.\(layer)."
      for name in ["query", "key", "value"] {
        linear(path + "attention.self.\(name)", [hidden, hidden])
      }
      linear(path + "attention.output.dense", [hidden, hidden])
      linear(path + "attention.output.LayerNorm", [hidden])
      linear(path + "intermediate.dense", [inner, hidden])
      linear(path + "output.dense", [hidden, inner])
      linear(path + "output.LayerNorm", [hidden])
    }
    return shapes.map { name, shape in
      let noise = Tensor.randomNormal(shape, generator: generator) * 0.2
      return (name, name.hasSuffix("LayerNorm.weight") ? noise + 1.0 : noise)
    }
  }

  private var tokenizer: JSON {
    [
      "version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil,
      "pre_tokenizer": ["type": "WhitespaceSplit"], "decoder": nil,
      "post_processor": [
        "type": "BertProcessing", "cls": ["[CLS]", 1], "sep": ["[SEP]", 2],
      ],
      "added_tokens": .array(
        Self.special.enumerated().map { id, name in
          [
            "id": .integer(id), "content": .string(name), "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false,
          ]
        }),
      "model": [
        "type": "WordLevel", "unk_token": "[UNK]",
        "vocab": .object(
          JSONObject(vocabulary.enumerated().map { ($0.element, .integer($0.offset)) })),
      ],
    ]
  }
}
