import JSONValues

/// The sections of `tokenizer.json` that a class of transformers makes of a vocabulary.
struct TokenizerClassSections {
  static let space = "\u{2581}"
  /// More tokens of T5's for gaps than any model has.
  static let mostExtraTokens = 100_000
  /// The expression by which Qwen2 cuts texts.
  private static let qwenPattern =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
    + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#

  let kind: TokenizerClass
  let tokens: ListedTokens
  private let file: String

  init(_ kind: TokenizerClass, _ tokens: ListedTokens, file: String) {
    self.kind = kind
    self.tokens = tokens
    self.file = file
  }

  // MARK: WordPiece

  /// BERT's: the tokens of `vocab.txt`.
  func wordPieces(_ vocabulary: TokenIDs) throws(TokenizerError) -> JSON {
    let added = tokens.added(to: vocabulary)
    return try document(
      [
        "type": "WordPiece", "unk_token": .string(tokens.special("unk_token")),
        "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": .object(vocabulary.json),
      ],
      normalizer: [
        "type": "BertNormalizer", "clean_text": true,
        "handle_chinese_chars": .bool(tokens.flag("tokenize_chinese_chars") ?? true),
        "strip_accents": tokens.flag("strip_accents").map(JSON.bool) ?? .null,
        "lowercase": .bool(tokens.flag("do_lower_case") ?? true),
      ],
      preTokenizer: ["type": "BertPreTokenizer"],
      decoder: ["type": "WordPiece", "prefix": "##", "cleanup": true],
      template: Template(first: ["cls_token"], last: ["sep_token"], countsPair: true), added,
      vocabulary)
  }

  // MARK: Byte-level BPE

  /// GPT-2's, RoBERTa's and Qwen2's: `vocab.json` and `merges.txt`.
  func bytePairs(_ vocabulary: TokenIDs, merges: [JSON]) throws(TokenizerError) -> JSON {
    let addsSpace = tokens.flag("add_prefix_space") ?? false
    func bytes(usesPattern: Bool) -> JSON {
      [
        "type": "ByteLevel", "add_prefix_space": .bool(addsSpace), "trim_offsets": true,
        "use_regex": .bool(usesPattern),
      ]
    }
    var steps = bytes(usesPattern: true)
    if kind == .qwen2 {
      steps = [
        "type": "Sequence",
        "pretokenizers": [
          [
            "type": "Split", "pattern": ["Regex": .string(Self.qwenPattern)],
            "behavior": "Isolated", "invert": false,
          ], bytes(usesPattern: false),
        ],
      ]
    }
    let added = tokens.added(to: vocabulary)
    var json = try document(
      [
        "type": "BPE", "unk_token": nil, "continuing_subword_prefix": "", "end_of_word_suffix": "",
        "fuse_unk": false, "byte_fallback": false, "vocab": .object(vocabulary.json),
        "merges": .array(merges),
      ],
      normalizer: kind == .qwen2 ? ["type": "NFC"] : .null, preTokenizer: steps,
      decoder: [
        "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
      ],
      template: textFrame(addsBegin: false), added, vocabulary)
    if kind == .roberta {
      let ids = try identifiers(of: ["sep_token", "cls_token"], added, vocabulary)
      json = replacing(
        "post_processor", in: json,
        by: [
          "type": "RobertaProcessing", "sep": [.string(ids[0].token), .integer(ids[0].id)],
          "cls": [.string(ids[1].token), .integer(ids[1].id)],
          "trim_offsets": .bool(tokens.flag("trim_offsets") ?? true),
          "add_prefix_space": .bool(addsSpace),
        ])
    }
    return json
  }

  // MARK: Special tokens around a text

  /// Names of special tokens around a text, or around both of a pair.
  struct Template {
    var first: [String] = []
    var last: [String] = []
    /// What begins the second text of a pair.
    var secondFirst: [String] = []
    /// Whether the second text has the type 1.
    var countsPair = false

    var names: [String] { first + last + secondFirst }
  }

  var pieceFrame: Template {
    switch kind {
    case .t5: Template(last: ["eos_token"])
    case .albert: Template(first: ["cls_token"], last: ["sep_token"], countsPair: true)
    default: Template(first: ["bos_token"], last: ["eos_token"], secondFirst: ["eos_token"])
    }
  }

  /// What `add_bos_token` and `add_eos_token` ask for.
  func textFrame(addsBegin: Bool) -> Template {
    func wanted(_ name: String, _ flag: String, _ fallback: Bool) -> [String] {
      (tokens.flag(flag) ?? fallback) && !tokens.special(name).isEmpty ? [name] : []
    }
    let first = wanted("bos_token", "add_bos_token", addsBegin)
    return Template(
      first: first, last: wanted("eos_token", "add_eos_token", false), secondFirst: first,
      countsPair: true)
  }

  func document(
    _ model: JSON, normalizer: JSON, preTokenizer: JSON, decoder: JSON, template: Template,
    _ added: [JSON], _ vocabulary: TokenIDs
  ) throws(TokenizerError) -> JSON {
    var defined = JSONObject()
    for special in try identifiers(of: template.names, added, vocabulary) {
      let text = JSON.string(special.token)
      defined[special.token] = ["id": text, "ids": [.integer(special.id)], "tokens": [text]]
    }
    func part(_ names: [String], _ type: Int) -> [JSON] {
      names.map { name in
        ["SpecialToken": ["id": .string(tokens.special(name)), "type_id": .integer(type)]]
      }
    }
    func sequence(_ name: JSON, _ type: Int) -> [JSON] {
      [["Sequence": ["id": name, "type_id": .integer(type)]]]
    }
    let single = part(template.first, 0) + sequence("A", 0) + part(template.last, 0)
    let type = template.countsPair ? 1 : 0
    let second = part(template.secondFirst, type) + sequence("B", type) + part(template.last, type)
    return [
      "version": "1.0", "added_tokens": .array(added), "normalizer": normalizer,
      "pre_tokenizer": preTokenizer,
      "post_processor": [
        "type": "TemplateProcessing", "single": .array(single), "pair": .array(single + second),
        "special_tokens": .object(defined),
      ],
      "decoder": decoder, "model": model,
    ]
  }

  /// Special tokens with their ids.
  private func identifiers(
    of names: [String], _ added: [JSON], _ vocabulary: TokenIDs
  ) throws(TokenizerError) -> [(token: String, id: Int)] {
    var found: [(token: String, id: Int)] = []
    for name in names {
      let token = tokens.special(name)
      let id =
        added.first { $0["content"]?.stringValue?.utf8.elementsEqual(token.utf8) == true }?["id"]?
        .intValue ?? vocabulary[token]
      guard let id else {
        throw .malformedComponent(
          file: file, component: name,
          problem: "\(kind.rawValue) puts it around texts, and tokenizer_config.json says null")
      }
      found.append((token, id))
    }
    return found
  }

  private func replacing(_ key: String, in json: JSON, by value: JSON) -> JSON {
    var object = json.objectValue ?? JSONObject()
    object[key] = value
    return .object(object)
  }
}
