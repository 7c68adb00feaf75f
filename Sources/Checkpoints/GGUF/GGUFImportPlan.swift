import JSONValues

/// Everything that an import will write but the weights themselves; making it changes no file.
package struct GGUFImportPlan {
  /// The architecture of the file.
  package let architecture: String
  /// The tensors to write, in the order of the model's layers.
  let tensors: [GGUFTensorPlan]
  /// The text files by name.
  package let texts: [(name: String, text: String)]

  /// Checks the whole header of a file: sizes, tensors and tokenizer.
  package init(_ file: GGUFFile, dtype: GGUFImporter.DType) throws(CheckpointError) {
    let shape = try GGUFModelShape(file)
    architecture = shape.architecture.rawValue
    tensors = try shape.tensorPlans(file)
    let tokenizer = try GGUFTokenizer(file, vocabularySize: shape.vocabularySize)
    let contents: [(name: String, json: JSON)] = [
      ("config.json", shape.configuration(dtype: dtype, tokens: tokenizer.specialTokens)),
      ("generation_config.json", tokenizer.specialTokens.generationConfiguration),
      ("tokenizer.json", try tokenizer.tokenizerJSON()),
      ("tokenizer_config.json", try tokenizer.configuration(contextLength: shape.contextLength)),
      ("special_tokens_map.json", tokenizer.specialTokensMap),
    ]
    texts = contents.map { name, json in
      (name, json.serialized(indent: 2, escapeNonASCII: false) + "\n")
    }
  }
}
