import JSONValues
import Layers
import Models
import Quantization
import Tensors

/// A model of which a directory can be written.
protocol WritableModel: AdaptableModel {
  /// Layers that are one table by the configuration, which files hold under the first one's name: last
  /// the output head. Empty where the head has a table of its own by the configuration.
  var tiedLayers: [(path: String, layer: any Module)] { get }

  /// Changes what differs from the configuration that the model was opened with.
  ///
  /// - Parameters:
  ///   - object: The content of `config.json`.
  ///   - isUntied: Whether the head of ``tiedLayers`` has become a table of its own.
  func adjust(_ object: inout JSONObject, isUntied: Bool)
}

extension DecoderForCausalLM: WritableModel {
  var tiedLayers: [(path: String, layer: any Module)] {
    configuration.tiesEmbeddings ? [("", model.embedding), ("lm_head", head)] : []
  }

  func adjust(_ object: inout JSONObject, isUntied: Bool) {
    let origins = layerOrigins
    if origins.count != originalLayerCount { object["num_hidden_layers"] = .integer(origins.count) }
    if let kinds = object["layer_types"]?.arrayValue, origins.allSatisfy(kinds.indices.contains) {
      object["layer_types"] = .array(origins.map { kinds[$0] })
    }
    if isUntied { object["tie_word_embeddings"] = false }
  }
}

extension EncoderDecoderForConditionalGeneration: WritableModel {
  var tiedLayers: [(path: String, layer: any Module)] {
    let tables = modules().filter { $0.module is Embedding }
    func ending(_ name: String) -> [(path: String, layer: any Module)] {
      tables.filter { $0.path == name || $0.path.hasSuffix("." + name) }.map {
        ($0.path, $0.module)
      }
    }
    // The stacks look up in the shared table even where the head has one of its own.
    return ending("shared") + ending("embed_tokens") + [("lm_head", head)]
  }

  func adjust(_ object: inout JSONObject, isUntied: Bool) {
    guard isUntied, object["tie_word_embeddings"] != false else { return }
    object["tie_word_embeddings"] = false
    // Of a T5 without this key, that flag says whether the head scales what it reads.
    if modelType == "t5", object["scale_decoder_outputs"] == nil {
      object["scale_decoder_outputs"] = .bool(configuration.headScale != 1)
    }
  }
}

/// Opens models of which directories can be written.
enum WritableModels {
  /// Opens a model directory, whichever of the kinds it is.
  ///
  /// - Parameters:
  ///   - directory: A Hugging Face directory.
  ///   - dtype: Type to compute in; nil for the checkpoint's own.
  ///   - quantization: How linear layers are quantised as they are read; nil for not at all.
  /// - Returns: The model.
  /// - Throws: What opening it throws.
  static func open(
    _ directory: String, dtype: DType?, quantization: QuantizationOptions? = nil
  ) throws -> any WritableModel {
    try AutoModelForSeq2SeqLM.isKind(of: directory)
      ? try AutoModelForSeq2SeqLM.fromPretrained(
        directory, dtype: dtype, quantization: quantization)
      : try AutoModelForCausalLM.fromPretrained(
        directory, dtype: dtype, quantization: quantization)
  }
}
