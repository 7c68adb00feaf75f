import JSONValues

/// The tokenizer of a Hugging Face directory as the metadata of a GGUF file.
///
/// Two kinds have a place there: byte-level BPE (`gpt2`, with the name of the way that text is split
/// first), and SentencePiece BPE (`llama`, with scores of the tokens). What such a file cannot say is
/// refused, not left out.
package struct GGUFTokenizerMetadata {
  /// Keys and values in the order to write.
  package let entries: [(key: String, value: GGUFValue)]

  /// Ids that the model's configuration has for special tokens, where the tokenizer's files name none.
  package struct ModelIDs: Sendable {
    /// The token that begins a text.
    package var begin: Int?
    /// Tokens that end a text; the first one is the main one.
    package var ends: [Int] = []
    /// The token that fills rows up.
    package var padding: Int?

    /// No ids.
    package init() {}
  }

  /// Reads the tokenizer's files.
  ///
  /// - Parameters:
  ///   - directory: where `tokenizer.json` is, with `tokenizer_config.json`, `special_tokens_map.json`
  ///     and `chat_template.jinja` where there are such.
  ///   - vocabularySize: rows of the model's embedding; ids that no token has become fillers.
  ///   - modelIDs: what the model's configuration says.
  /// - Throws: ``CheckpointError`` or `JSONError` that names the file and what a GGUF file cannot say.
  package init(
    directory: String, vocabularySize: Int, modelIDs: ModelIDs = ModelIDs()
  ) throws {
    let source = try GGUFTokenizerSource(directory: directory)
    let vocabulary = try GGUFVocabulary(source, size: vocabularySize)
    var entries: [(key: String, value: GGUFValue)] = []
    func put(_ key: String, _ value: GGUFValue) { entries.append(("tokenizer.ggml." + key, value)) }
    let isByteLevel = source.steps(of: "pre_tokenizer").contains { $0.type == "ByteLevel" }
    if isByteLevel {
      put("model", .string("gpt2"))
      put("pre", .string(try GGUFTokenizer.PreTokenization.name(of: source)))
    } else {
      put("model", .string("llama"))
      put("pre", .string("default"))
    }
    put("tokens", .array(vocabulary.tokens.map(GGUFValue.string)))
    put("token_type", .array(vocabulary.types.map { .int32(Int32($0.rawValue)) }))
    let merges = try source.merges()
    if isByteLevel {
      put("merges", .array(merges.map { .string($0.left + " " + $0.right) }))
    } else {
      let scores = try vocabulary.scores(merges, source)
      put("scores", .array(scores.map(GGUFValue.float32)))
      put("add_space_prefix", .bool(try source.addsSpacePrefix()))
    }
    let special = GGUFSpecialIDs(source, vocabulary, modelIDs)
    for (name, id) in special.named { put("\(name)_token_id", .uint32(UInt32(id))) }
    let around = try source.surroundings(special, vocabulary)
    put("add_bos_token", .bool(around.begins))
    put("add_eos_token", .bool(around.ends))
    entries += try source.chatTemplates()
    self.entries = entries
  }
}

/// The special tokens of a tokenizer, by their names in GGUF files.
struct GGUFSpecialIDs {
  let begin: Int?
  let end: Int?
  let endOfTurn: Int?
  let unknown: Int?
  let padding: Int?

  init(
    _ source: GGUFTokenizerSource, _ vocabulary: GGUFVocabulary,
    _ model: GGUFTokenizerMetadata.ModelIDs
  ) {
    func id(_ name: String) -> Int? { source.specialToken(name).flatMap { vocabulary.id(of: $0) } }
    func existing(_ id: Int?) -> Int? {
      id.flatMap { vocabulary.tokens.indices.contains($0) ? $0 : nil }
    }
    begin = id("bos_token") ?? existing(model.begin)
    let end = id("eos_token") ?? existing(model.ends.first)
    self.end = end
    // Tokens that end a turn of a conversation, as families call them.
    let names = ["<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>", "<|eom_id|>"]
    endOfTurn = names.compactMap { vocabulary.id(of: $0) }
      .first { model.ends.contains($0) && $0 != end }
    unknown = id("unk_token") ?? source.unknownToken.flatMap { vocabulary.id(of: $0) }
    padding = id("pad_token") ?? existing(model.padding)
  }

  var named: [(name: String, id: Int)] {
    [
      ("bos", begin), ("eos", end), ("eot", endOfTurn), ("unknown", unknown), ("padding", padding),
    ].compactMap { name, id in id.map { (name, $0) } }
  }
}

extension GGUFTokenizer.PreTokenization {
  /// The name in GGUF files of the way that a byte-level tokenizer splits text.
  static func name(of source: GGUFTokenizerSource) throws(CheckpointError) -> String {
    let normalizers = source.steps(of: "normalizer")
    let composes = normalizers.map(\.type) == ["NFC"]
    guard normalizers.isEmpty || composes else {
      throw source.unsupported(
        "normalizer \(normalizers.map(\.type)) of a byte-level tokenizer", ["none", "NFC"])
    }
    try source.checkPlainMerging(fallsBackToBytes: false)
    let steps = source.steps(of: "pre_tokenizer")
    var found = GGUFTokenizer.PreTokenization(names: [], composes: composes)
    found.ignoresMerges = source.model["ignore_merges"]?.boolValue ?? false
    for (index, step) in steps.enumerated() {
      let isLast = index == steps.count - 1
      switch step.type {
      case "Digits" where step.json["individual_digits"]?.boolValue == true && !isLast:
        found.splitsDigits = true
      case "Split" where !isLast && found.expression == nil:
        guard let expression = step.json["pattern"]?["Regex"]?.stringValue,
          step.json["behavior"]?.stringValue == "Isolated",
          step.json["invert"]?.boolValue != true
        else { throw unknown(source, steps) }
        found.expression = expression
      case "ByteLevel" where isLast:
        let usesExpression = step.json["use_regex"]?.boolValue ?? true
        guard step.json["add_prefix_space"]?.boolValue != true,
          usesExpression == (found.expression == nil)
        else { throw unknown(source, steps) }
      default: throw unknown(source, steps)
      }
    }
    let match = GGUFTokenizer.preTokenizations.first {
      $0.splitsDigits == found.splitsDigits && $0.expression == found.expression
        && $0.ignoresMerges == found.ignoresMerges && $0.composes == found.composes
    }
    guard let name = match?.writtenName else { throw unknown(source, steps) }
    return name
  }

  private var writtenName: String? { names.contains("gpt-2") ? "gpt-2" : names.first }

  private static func unknown(
    _ source: GGUFTokenizerSource, _ steps: [GGUFTokenizerSource.Step]
  ) -> CheckpointError {
    let spelled = steps.map { $0.json.serialized() }.joined(separator: ", ")
    return source.unsupported(
      "the way of splitting text \(quoted(spelled, limit: 400))",
      ["those that llama.cpp calls"]
        + GGUFTokenizer.preTokenizations.compactMap(\.writtenName))
  }
}
