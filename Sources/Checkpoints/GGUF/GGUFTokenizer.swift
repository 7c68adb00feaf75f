import JSONValues

/// The tokenizer of a GGUF file, rebuilt as the files of a Hugging Face directory.
///
/// Two models are known: `gpt2`, a byte-level BPE whose `tokenizer.ggml.pre` names the way that
/// text is split first, and `llama`, a SentencePiece BPE.
struct GGUFTokenizer {
  /// What a token is, with llama.cpp's numbers.
  enum TokenType: Int {
    case undefined = 0
    case normal = 1
    case unknown = 2
    case control = 3
    case userDefined = 4
    case unused = 5
    case byte = 6
  }

  let file: GGUFFile
  let fields: GGUFFields
  let model: String
  let tokens: [String]
  let types: [TokenType]
  let ids: [UTF8Key: Int]
  let specialTokens: GGUFSpecialTokens

  static let models = ["gpt2", "llama"]

  init(_ file: GGUFFile, vocabularySize: Int) throws(CheckpointError) {
    let fields = GGUFFields(file)
    self.file = file
    self.fields = fields
    model = try fields.string("tokenizer.ggml.model")
    guard Self.models.contains(model) else {
      throw .unsupported(
        path: file.path, what: "tokenizer.ggml.model \(quoted(model))", supported: Self.models)
    }
    let key = "tokenizer.ggml.tokens"
    guard let tokens = try fields.optionalArray(key, of: "a string", { $0.stringValue }) else {
      throw fields.lacks(key)
    }
    guard tokens.count <= vocabularySize else {
      throw .mismatch(
        path: file.path, what: key,
        expected: "at most the \(vocabularySize) rows of \"token_embd.weight\"",
        actual: "\(tokens.count)")
    }
    self.tokens = tokens
    types = try Self.types(fields, count: tokens.count)
    var ids: [UTF8Key: Int] = [:]
    ids.reserveCapacity(tokens.count)
    for (id, token) in tokens.enumerated() {
      if let other = ids.updateValue(id, forKey: UTF8Key(token)) {
        throw .mismatch(
          path: file.path, what: "\(key)[\(id)]", expected: "a token that occurs once",
          actual: "\(quoted(token)), which is also token \(other)")
      }
    }
    self.ids = ids
    specialTokens = try GGUFSpecialTokens(fields, tokenCount: tokens.count)
  }

  private static func types(
    _ fields: GGUFFields, count: Int
  ) throws(CheckpointError) -> [TokenType] {
    let key = "tokenizer.ggml.token_type"
    let types = try fields.optionalArray(key, of: "a token type from 0 to 6") {
      $0.intValue.flatMap(TokenType.init)
    }
    guard let types else { return Array(repeating: .normal, count: count) }
    guard types.count == count else {
      throw .mismatch(
        path: fields.file.path, what: key, expected: "\(count) types, one for each token",
        actual: "\(types.count)")
    }
    return types
  }

  /// The content of tokenizer.json.
  func tokenizerJSON() throws(CheckpointError) -> JSON {
    let parts = model == "gpt2" ? try byteLevelParts() : try sentencePieceParts()
    return [
      "version": "1.0", "truncation": nil, "padding": nil,
      "added_tokens": .array(
        addedTokens.map { addedToken($0.id, isSpecial: $0.isSpecial, withID: true) }),
      "normalizer": parts.normalizer, "pre_tokenizer": parts.preTokenizer,
      "post_processor": try postProcessor(addsBeginByDefault: parts.addsBeginByDefault),
      "decoder": parts.decoder, "model": parts.model,
    ]
  }

  /// What depends on the model: the sections of tokenizer.json.
  struct Parts {
    let normalizer: JSON
    let preTokenizer: JSON
    let decoder: JSON
    let model: JSON
    let addsBeginByDefault: Bool
  }

  /// Whether a token is only there to fill the rows of the embedding: `[PAD<id>]`, marked unused.
  func isFiller(_ id: Int) -> Bool {
    types[id] == .unused && tokens[id] == "[PAD\(id)]"
  }

  /// The vocabulary in the order of the ids.
  var vocabulary: JSON {
    let pairs = tokens.enumerated().filter { !isFiller($0.offset) }
    return .object(JSONObject(pairs.map { (key: $0.element, value: .integer($0.offset)) }))
  }

  /// A list of merges as pairs, each checked against the vocabulary.
  func merges() throws(CheckpointError) -> [JSON]? {
    let key = "tokenizer.ggml.merges"
    guard let merges = try fields.optionalArray(key, of: "a string", { $0.stringValue }) else {
      return nil
    }
    var pairs: [JSON] = []
    pairs.reserveCapacity(merges.count)
    for (index, merge) in merges.enumerated() {
      // The first part is never empty, so a space at the beginning belongs to it.
      let space = merge.utf8.dropFirst().firstIndex(of: UInt8(ascii: " "))
      guard let space else {
        throw .mismatch(
          path: file.path, what: "\(key)[\(index)]", expected: "two parts and a space between",
          actual: quoted(merge))
      }
      let left = String(merge[..<space])
      let right = String(merge[merge.utf8.index(after: space)...])
      for part in [left, right, left + right] where ids[UTF8Key(part)] == nil {
        throw .mismatch(
          path: file.path, what: "\(key)[\(index)]", expected: "parts and a result that are tokens",
          actual: "\(quoted(merge)), where \(quoted(part)) is no token")
      }
      pairs.append([.string(left), .string(right)])
    }
    return pairs
  }

  /// The tokens that are matched as a whole: control tokens and those with a role are special,
  /// user-defined ones are not.
  private var addedTokens: [(id: Int, isSpecial: Bool)] {
    let roles = specialTokens.ids
    return tokens.indices.compactMap { id in
      let isSpecial = types[id] == .control || types[id] == .unknown || roles.contains(id)
      return isSpecial || types[id] == .userDefined ? (id, isSpecial) : nil
    }
  }

  private func addedToken(_ id: Int, isSpecial: Bool, withID: Bool) -> JSON {
    var fields = JSONObject()
    if withID { fields["id"] = .integer(id) }
    fields["content"] = .string(tokens[id])
    for name in ["single_word", "lstrip", "rstrip", "normalized"] { fields[name] = false }
    fields["special"] = .bool(isSpecial)
    return .object(fields)
  }

  /// Puts the begin and end tokens around a text where the file says so.
  private func postProcessor(addsBeginByDefault: Bool) throws(CheckpointError) -> JSON {
    let addsBegin = try fields.optionalBool("tokenizer.ggml.add_bos_token") ?? addsBeginByDefault
    let addsEnd = try fields.optionalBool("tokenizer.ggml.add_eos_token") ?? false
    let begin = addsBegin ? specialTokens.begin : nil
    let end = addsEnd ? specialTokens.end : nil
    guard begin != nil || end != nil else { return nil }
    func special(_ id: Int?, _ type: Int) -> [JSON] {
      guard let id else { return [] }
      return [["SpecialToken": ["id": .string(tokens[id]), "type_id": .integer(type)]]]
    }
    func around(_ name: String, _ type: Int) -> [JSON] {
      let text: JSON = ["Sequence": ["id": .string(name), "type_id": .integer(type)]]
      return special(begin, type) + [text] + special(end, type)
    }
    var specials = JSONObject()
    for id in [begin, end].compactMap({ $0 }) {
      specials[tokens[id]] = [
        "id": .string(tokens[id]), "ids": [.integer(id)], "tokens": [.string(tokens[id])],
      ]
    }
    return [
      "type": "TemplateProcessing", "single": .array(around("A", 0)),
      "pair": .array(around("A", 0) + around("B", 1)), "special_tokens": .object(specials),
    ]
  }

  /// The content of special_tokens_map.json.
  var specialTokensMap: JSON {
    .object(
      JSONObject(specialTokens.named.map { (key: $0.name, value: .string(tokens[$0.id])) }))
  }

  /// The content of tokenizer_config.json.
  func configuration(contextLength: Int) throws(CheckpointError) -> JSON {
    var fields = JSONObject()
    let added = addedTokens.map { id, isSpecial in
      (key: "\(id)", value: addedToken(id, isSpecial: isSpecial, withID: false))
    }
    fields["added_tokens_decoder"] = .object(JSONObject(added))
    if let template = try chatTemplate() { fields["chat_template"] = template }
    fields["clean_up_tokenization_spaces"] = false
    fields["model_max_length"] = .integer(contextLength)
    for (name, id) in specialTokens.named { fields[name] = .string(tokens[id]) }
    fields["tokenizer_class"] = "PreTrainedTokenizerFast"
    return .object(fields)
  }

  /// One template, or a list of named ones where the file has more than the default.
  private func chatTemplate() throws(CheckpointError) -> JSON? {
    let main = try fields.optionalString("tokenizer.chat_template")
    let names = try fields.optionalArray("tokenizer.chat_templates", of: "a string") {
      $0.stringValue
    }
    guard let names, !names.isEmpty else { return main.map { .string($0) } }
    var list: [JSON] = main.map { [["name": "default", "template": .string($0)]] } ?? []
    for name in names where name != "default" {
      let template = try fields.string("tokenizer.chat_template.\(name)")
      list.append(["name": .string(name), "template": .string(template)])
    }
    return .array(list)
  }
}
