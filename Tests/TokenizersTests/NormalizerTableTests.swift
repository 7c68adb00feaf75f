import JSONValues
import Testing
import Tokenizers

/// What depends on the age of the reference's Unicode tables.
@Suite("Normalizers and patterns go by the reference's tables")
struct NormalizerTableTests {
  private func make(_ vocabulary: [(String, JSON)], _ members: [(String, JSON)]) throws
    -> Tokenizer
  {
    let model: JSON = [
      "type": "BPE", "merges": [], "ignore_merges": true,
      "vocab": .object(JSONObject(vocabulary.map { (key: $0.0, value: $0.1) })),
    ]
    var root = JSONObject([("model", model)])
    for (key, value) in members { root[key] = value }
    return try Tokenizer(tokenizerJSON: .object(root))
  }

  /// The first text is what the reference makes of it, the second is not.
  @Test(
    "Marks, punctuation and control characters are those of their time",
    arguments: [
      // A mark of Unicode 8 that is another kind of mark now, and one that became a mark later.
      ("BertNormalizer", "a\u{1734}", "a", "a\u{1734}"),
      ("BertNormalizer", "a\u{1885}", "a\u{1885}", "a"),
      // Marks that became letters, and a mark that was punctuation.
      ("StripAccents", "a\u{1CF2}", "a", "a\u{1CF2}"),
      ("StripAccents", "a\u{111C9}", "a\u{111C9}", "a"),
      // Format characters go, those of later versions stay.
      ("BertNormalizer", "a\u{AD}", "a", "a\u{AD}"),
      ("BertNormalizer", "a\u{890}", "a\u{890}", "a"),
      ("Nmt", "a\u{200B}\u{1}b", "a b", "a\u{200B}b"),
    ])
  func tables(type: String, text: String, right: String, wrong: String) throws {
    let tokenizer = try make([(right, 0), (wrong, 1)], [("normalizer", ["type": .string(type)])])
    #expect(tokenizer.encode(text) == [0])
  }

  @Test("Patterns know the characters of Unicode 16, whatever PCRE2 is installed")
  func newerCharacters() throws {
    // U+1C89 is a letter of Unicode 16, U+1E4D0 one of Unicode 15, U+B2 a word character of Oniguruma.
    for (pattern, text) in [
      (#"\p{L}+"#, "\u{1C89}\u{1E4D0}"), (#"\p{Lu}"#, "\u{1C89}"), (#"\w"#, "\u{B2}"),
      (#"[a[bc]]+"#, "abc"), (#"(?m:a.b)"#, "a\nb"),
    ] {
      let split: JSON = [
        "type": "Split", "pattern": ["Regex": .string(pattern)], "behavior": "Isolated",
        "invert": false,
      ]
      let tokenizer = try make(
        [(text, 0), ("-", 1), ("-" + text, 2)], [("pre_tokenizer", split)])
      #expect(tokenizer.encode("-" + text) == [1, 0], "\(pattern)")
    }
  }
}
