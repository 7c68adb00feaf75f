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

  /// Paths of weights that are the same table as one written before, as the configuration says that
  /// they are: files hold it once.
  var copiedWeightPaths: Set<String> { get }

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
  public var copiedWeightPaths: Set<String> { [] }

  /// Changes nothing.
  ///
  /// - Parameter configuration: The content of `config.json`.
  public func describe(_ configuration: inout JSONObject) {}
}

extension DecoderForCausalLM: StoredModel {
  /// The head's weight where it is, or equals, the embeddings' and the configuration says so.
  public var copiedWeightPaths: Set<String> {
    configuration.tiesEmbeddings && head.isTable(of: model.embedding) ? ["lm_head.weight"] : []
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
    if self.configuration.tiesEmbeddings, copiedWeightPaths.isEmpty {
      configuration["tie_word_embeddings"] = false
    }
  }
}

extension EncoderDecoderForConditionalGeneration: StoredModel {
  /// The stacks' tables and the head's weight where they are, or equal, the shared table: the stacks
  /// look up in it even where the head has one of its own.
  public var copiedWeightPaths: Set<String> {
    head.isTable(of: model.shared)
      ? copiesOfSharedTable.union(["lm_head.weight"]) : copiesOfSharedTable
  }

  /// Says whether the head is the embeddings' table.
  ///
  /// - Parameter configuration: The content of `config.json`.
  public func describe(_ configuration: inout JSONObject) {
    guard !copiedWeightPaths.contains("lm_head.weight"),
      configuration["tie_word_embeddings"] != false
    else { return }
    configuration["tie_word_embeddings"] = false
    // Of a T5 without this key, that flag says whether the head scales what it reads.
    if modelType == "t5", configuration["scale_decoder_outputs"] == nil {
      configuration["scale_decoder_outputs"] = .bool(self.configuration.headScale != 1)
    }
  }
}

extension Module {
  /// Weights of the stacks of a model with encoder and decoder that are, or equal, the table which both
  /// have in common.
  var copiesOfSharedTable: Set<String> {
    let tables = modules().compactMap { entry -> (path: String, table: Embedding)? in
      let name = entry.path.split(separator: ".").last
      guard name == "shared" || name == "embed_tokens" else { return nil }
      return (entry.module as? Embedding).map { (entry.path, $0) }
    }
    guard let shared = tables.first else { return [] }
    return Set(
      tables.dropFirst().filter { $0.table.isTable(of: shared.table) }.map { $0.path + ".weight" })
  }
}

extension Linear {
  /// Whether a head's weight is, or equals, a table of embeddings.
  func isTable(of embedding: Embedding) -> Bool {
    guard projection.storedCount == 0 else { return false }
    return isOneTable(projection.denseWeight(), embedding.table.denseWeight())
  }
}

extension Embedding {
  /// Whether the table is, or equals, another one.
  fileprivate func isTable(of other: Embedding) -> Bool {
    isOneTable(table.denseWeight(), other.table.denseWeight())
  }
}

private func isOneTable(_ one: Tensor, _ other: Tensor) -> Bool {
  one.sharesStorage(with: other) || one.isEqual(to: other)
}
