import JSONValues

/// A special or added token as the files around a vocabulary list it.
struct ListedToken {
  var content: String
  var isSpecial = true
  /// Whether it is searched in normalized text; where the file does not say, unless it is special.
  var isNormalized: Bool?
  var isSingleWord = false
  var stripsLeft = false
  var stripsRight = false

  init(_ content: String, isSpecial: Bool = true, stripsLeft: Bool = false) {
    self.content = content
    self.isSpecial = isSpecial
    self.stripsLeft = stripsLeft
  }

  /// A text, or an object with its content; nil for other values.
  init?(_ json: JSON?, isSpecial: Bool? = nil) {
    if let text = json?.stringValue {
      self.init(text)
      return
    }
    guard let content = json?["content"]?.stringValue else { return nil }
    self.init(content, isSpecial: isSpecial ?? json?["special"]?.boolValue ?? false)
    isNormalized = json?["normalized"]?.boolValue
    isSingleWord = json?["single_word"]?.boolValue ?? false
    stripsLeft = json?["lstrip"]?.boolValue ?? false
    stripsRight = json?["rstrip"]?.boolValue ?? false
  }

  /// As an entry of `added_tokens`.
  func json(id: Int) -> JSON {
    [
      "id": .integer(id), "content": .string(content), "single_word": .bool(isSingleWord),
      "lstrip": .bool(stripsLeft), "rstrip": .bool(stripsRight),
      "normalized": .bool(isNormalized ?? !isSpecial), "special": .bool(isSpecial),
    ]
  }
}

/// The tokens that `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` name, in
/// the order in which transformers adds them to a vocabulary.
struct ListedTokens {
  /// Special tokens by name; the class's own where the files are silent.
  private(set) var named: [(name: String, token: ListedToken)] = []
  /// Further special tokens of the configuration; nil when it lists none.
  private(set) var extra: [ListedToken]?
  /// Those that `special_tokens_map.json` calls additional; the tokens of a SentencePiece model take
  /// their place.
  private(set) var mapped: [ListedToken] = []
  /// Tokens that have an id, in its order.
  private(set) var numbered: [ListedToken] = []
  /// What the files say besides, with the special tokens put in.
  private(set) var fields: JSONObject

  private static let names = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// Reads the tokens for a class.
  init(
    _ chosen: TokenizerClass, configuration: JSON?, specialTokensMap: JSON?, addedTokens: JSON?,
    directory: String
  ) throws(TokenizerError) {
    fields = configuration?.objectValue ?? JSONObject()
    let decoder = fields["added_tokens_decoder"]?.objectValue
    extra =
      Self.list(fields["extra_special_tokens"]) ?? Self.list(fields["additional_special_tokens"])
    let map = decoder == nil ? specialTokensMap?.objectValue : nil
    var isFromMap: Set<String> = []
    for (name, value) in map ?? JSONObject() {
      fields[name] = value
      isFromMap.insert(name)
    }
    for token in Self.list(map?["extra_special_tokens"]) ?? [] { extra = (extra ?? []) + [token] }
    // Those that the map calls additional do not make an added token special.
    let specials =
      Self.names.compactMap { ListedToken(fields[$0])?.content } + (extra ?? []).map(\.content)
    mapped = Self.list(map?["additional_special_tokens"]) ?? []

    var numbers: [(id: Int, token: ListedToken)] = []
    for (key, value) in decoder ?? JSONObject() {
      guard let id = Int(key), id >= 0, let token = ListedToken(value) else {
        throw .malformedComponent(
          file: directory + "/tokenizer_config.json", component: "added_tokens_decoder.\(key)",
          problem: "expected an id with {\"content\": ...}")
      }
      numbers.append((id, token))
    }
    if decoder == nil, let addedTokens {
      let file = directory + "/added_tokens.json"
      guard let object = addedTokens.objectValue else {
        throw .malformedComponent(
          file: file, component: "the top level", problem: "expected an object of tokens and ids")
      }
      for (content, id) in object {
        guard let id = id.intValue, id >= 0 else {
          throw .malformedComponent(
            file: file, component: JSON.string(content).serialized(), problem: "expected an id")
        }
        let isSpecial = specials.contains { $0.utf8.elementsEqual(content.utf8) }
        var token = ListedToken(content, isSpecial: isSpecial)
        token.isNormalized = !isSpecial
        numbers.append((id, token))
      }
    }
    numbered = numbers.sorted { $0.id < $1.id }.map(\.token)
    name(chosen, isFromMap)
  }

  /// Finds the special tokens: those of the files, else of the class.
  private mutating func name(_ chosen: TokenizerClass, _ isFromMap: Set<String>) {
    let own = chosen.specialTokens
    for name in Self.names {
      guard fields[name] != nil || own[name] != nil else { continue }
      let value = fields[name] ?? own[name].map(JSON.string)
      let wasText = value?.stringValue != nil
      guard var token = ListedToken(value, isSpecial: isFromMap.contains(name) ? true : nil) else {
        continue  // null: the model has no such token
      }
      if let same = numbered.first(where: { $0.content.utf8.elementsEqual(token.content.utf8) }) {
        token = same
      } else if chosen == .camembert, name == "mask_token", wasText {
        token.stripsLeft = true
      }
      named.append((name, token))
      fields[name] = .string(token.content)
    }
    // Names that only this model has, such as "image_token".
    for (name, value) in fields
    where name.hasSuffix("_token") && !Self.names.contains(name) && value.stringValue != nil {
      if let token = ListedToken(value) { named.append((name, token)) }
    }
    for (name, value) in fields["extra_special_tokens"]?.objectValue ?? JSONObject() {
      if let token = ListedToken(value) { named.append((name, token)) }
    }
  }

  private static func list(_ json: JSON?) -> [ListedToken]? {
    guard let list = json?.arrayValue, !list.isEmpty else { return nil }
    return list.compactMap { ListedToken($0) }
  }

  /// The special token of a name, or an empty text.
  func special(_ name: String) -> String {
    named.first { $0.name == name }?.token.content ?? ""
  }

  func flag(_ name: String) -> Bool? { fields[name]?.boolValue }

  /// The configuration with the special tokens in it.
  var configuration: JSON { .object(fields) }

  /// The tokens to add to a vocabulary, with their ids, in ascending order.
  ///
  /// - Parameters:
  ///   - vocabulary: The vocabulary.
  ///   - own: Further special tokens where the configuration lists none.
  /// - Returns: Entries of `added_tokens`.
  func added(to vocabulary: TokenIDs, own: [ListedToken]? = nil) -> [JSON] {
    let numberedTexts = TokenIDs(places: numbered.map(\.content))
    let namedTexts = TokenIDs(places: named.map(\.token.content))
    var list = numbered
    for (_, token) in named where numberedTexts[token.content] == nil { list.append(token) }
    for token in extra ?? own ?? mapped where numberedTexts[token.content] == nil {
      list.append(token)
    }
    var ids = TokenIDs()
    var tokens: [Int: ListedToken] = [:]
    var next = vocabulary.count
    for var token in list where !token.content.isEmpty {
      if namedTexts[token.content] != nil { token.isSpecial = true }
      let id = vocabulary[token.content] ?? ids[token.content] ?? next
      ids[token.content] = id
      next = max(next, id + 1)
      tokens[id] = token
    }
    return tokens.sorted { $0.key < $1.key }.map { $0.value.json(id: $0.key) }
  }
}
