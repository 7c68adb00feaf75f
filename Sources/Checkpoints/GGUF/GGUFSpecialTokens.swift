import JSONValues

/// The special tokens of a GGUF file, by their ids.
struct GGUFSpecialTokens {
  /// Begins a text.
  let begin: Int?
  /// Ends a text.
  let end: Int?
  /// Ends a turn of a conversation, where that is another token than ``end``.
  let endOfTurn: Int?
  /// Stands for what the vocabulary cannot spell.
  let unknown: Int?
  /// Fills short texts of a batch.
  let padding: Int?

  init(_ fields: GGUFFields, tokenCount: Int) throws(CheckpointError) {
    func id(_ name: String) throws(CheckpointError) -> Int? {
      let key = "tokenizer.ggml.\(name)_token_id"
      guard let id = try fields.optionalInteger(key) else { return nil }
      guard (0..<tokenCount).contains(id) else {
        throw .mismatch(
          path: fields.file.path, what: key, expected: "an id below \(tokenCount)", actual: "\(id)")
      }
      return id
    }
    begin = try id("bos")
    end = try id("eos")
    endOfTurn = try id("eot")
    unknown = try id("unknown")
    padding = try id("padding")
  }

  /// The tokens with the names that Hugging Face gives them, those that are set.
  var named: [(name: String, id: Int)] {
    [
      ("bos_token", begin), ("eos_token", end), ("unk_token", unknown), ("pad_token", padding),
    ].compactMap { name, id in id.map { (name, $0) } }
  }

  /// All ids that are set.
  var ids: Set<Int> { Set([begin, end, endOfTurn, unknown, padding].compactMap { $0 }) }

  /// The content of generation_config.json.
  var generationConfiguration: JSON {
    var fields = JSONObject([(key: "_from_model_config", value: true)])
    if let begin { fields["bos_token_id"] = .integer(begin) }
    if let end, let endOfTurn, end != endOfTurn {
      fields["eos_token_id"] = [.integer(end), .integer(endOfTurn)]
    } else if let end = end ?? endOfTurn {
      fields["eos_token_id"] = .integer(end)
    }
    if let padding { fields["pad_token_id"] = .integer(padding) }
    return .object(fields)
  }
}
