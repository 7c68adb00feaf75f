import JSONValues

extension GGUFTokenizer {
  /// How a byte-level tokenizer splits text before it merges, by `tokenizer.ggml.pre`.
  ///
  /// The sections are those of the original models' tokenizer.json.
  struct PreTokenization {
    /// The names in GGUF files; an absent name counts as `default`.
    let names: [String]
    /// Whether text is composed first (Unicode NFC).
    var composes = false
    /// Whether digits are split off one by one before the GPT-2 expression.
    var splitsDigits = false
    /// The expression whose matches are the pieces, or nil for that of GPT-2.
    var expression: String?
    /// Whether a piece that is a token is taken without merging.
    var ignoresMerges = false
    /// Whether the begin token is put before a text when the file does not say.
    var addsBegin = false
  }

  static let preTokenizations = [
    PreTokenization(names: ["default", "gpt-2", "phi-2"]),
    PreTokenization(names: ["smollm", "starcoder", "refact"], splitsDigits: true),
    PreTokenization(
      names: ["llama-bpe", "llama-v3", "llama3"], expression: expression(digits: "{1,3}"),
      ignoresMerges: true, addsBegin: true),
    PreTokenization(names: ["smaug-bpe"], expression: expression(digits: "{1,3}")),
    PreTokenization(
      names: ["qwen2", "deepseek-r1-qwen"], composes: true, expression: expression(digits: "")),
    PreTokenization(
      names: ["tekken"], expression: tekkenExpression, ignoresMerges: true, addsBegin: true),
  ]

  /// The expression of Llama 3 (`{1,3}` digits) and of Qwen 2 (single ones): contractions, words
  /// with one leading sign, digits, signs with line ends, white space.
  private static func expression(digits: String) -> String {
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"# + digits
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// The expression of Mistral's Tekken: like GPT-4o's, without contractions and with single digits.
  private static let tekkenExpression =
    #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"#
    + #"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"#
    + #"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

  /// The sections of a byte-level BPE.
  func byteLevelParts() throws(CheckpointError) -> Parts {
    let name = try fields.optionalString("tokenizer.ggml.pre") ?? "default"
    guard let rules = Self.preTokenizations.first(where: { $0.names.contains(name) }) else {
      throw .unsupported(
        path: file.path, what: "tokenizer.ggml.pre \(quoted(name))",
        supported: Self.preTokenizations.flatMap(\.names))
    }
    guard let merges = try merges() else { throw fields.lacks("tokenizer.ggml.merges") }
    let byteLevel: JSON = [
      "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
      "use_regex": .bool(rules.expression == nil),
    ]
    var steps: [JSON] = []
    if rules.splitsDigits { steps.append(["type": "Digits", "individual_digits": true]) }
    if let expression = rules.expression {
      steps.append([
        "type": "Split", "pattern": ["Regex": .string(expression)], "behavior": "Isolated",
        "invert": false,
      ])
    }
    steps.append(byteLevel)
    return Parts(
      normalizer: rules.composes ? ["type": "NFC"] : nil,
      preTokenizer: steps.count == 1
        ? byteLevel : ["type": "Sequence", "pretokenizers": .array(steps)],
      decoder: [
        "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
      ],
      model: [
        "type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
        "end_of_word_suffix": nil, "fuse_unk": false, "byte_fallback": false,
        "ignore_merges": .bool(rules.ignoresMerges), "vocab": vocabulary,
        "merges": .array(merges),
      ],
      addsBeginByDefault: rules.addsBegin)
  }
}
