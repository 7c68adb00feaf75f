public import JSONValues
import Layers
import Tensors

/// A model that can be written as a Hugging Face directory.
public protocol StoredModel: AdaptableModel {
  /// What files call a parameter.
  ///
  /// - Parameter path: Its path in the model.
  /// - Returns: At least one name.
  func namesInFiles(_ path: String) -> [String]

  /// Path of the weight of an output head that is the table of embeddings, which files hold once; nil
  /// for none.
  var tiedWeightPath: String? { get }

  /// Changes the configuration of the directory that the model was opened from to what it is now.
  ///
  /// - Parameter configuration: The content of `config.json`.
  func describe(_ configuration: inout JSONObject)
}

extension StoredModel {
  /// The path itself.
  ///
  /// - Parameter path: A parameter's path in the model.
  /// - Returns: The one name.
  public func namesInFiles(_ path: String) -> [String] { [path] }

  /// None.
  public var tiedWeightPath: String? { nil }

  /// Changes nothing.
  ///
  /// - Parameter configuration: The content of `config.json`.
  public func describe(_ configuration: inout JSONObject) {}
}

extension DecoderForCausalLM: StoredModel {
  /// The head's weight where it is, or equals, the embeddings' and the configuration says so.
  public var tiedWeightPath: String? {
    configuration.tiesEmbeddings && head.isSame(as: model.embedding) ? "lm_head.weight" : nil
  }

  /// Says how many blocks there are, of which kinds, and whether the head is the embeddings' table.
  ///
  /// - Parameter configuration: The content of `config.json`.
  public func describe(_ configuration: inout JSONObject) {
    let origins = layerOrigins
    if origins.count != originalLayerCount {
      configuration["num_hidden_layers"] = .integer(origins.count)
    }
    if let kinds = configuration["layer_types"]?.arrayValue,
      origins.allSatisfy(kinds.indices.contains)
    {
      configuration["layer_types"] = .array(origins.map { kinds[$0] })
    }
    if self.configuration.tiesEmbeddings, tiedWeightPath == nil {
      configuration["tie_word_embeddings"] = false
    }
  }
}

extension Linear {
  /// Whether a head's weight is, or equals, a table of embeddings.
  func isSame(as embedding: Embedding) -> Bool {
    guard projection.storedCount == 0 else { return false }
    let (head, table) = (projection.denseWeight(), embedding.table.denseWeight())
    return head.sharesStorage(with: table) || head.isEqual(to: table)
  }
}
