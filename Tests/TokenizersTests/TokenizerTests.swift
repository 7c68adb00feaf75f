import Foundation
import JSONValues
import Testing
import Tokenizers

@Suite("Tokenizers")
struct TokenizerTests {
  /// A model of characters `a` to `d`, the merges `a b` and `ab c`, and tokens added by the caller.
  private func document(
    model: [String: JSON] = [:], added: [JSON] = [], members: [String: JSON] = [:]
  ) -> JSON {
    var fields = JSONObject([
      ("type", "BPE"), ("vocab", ["a": 0, "b": 1, "c": 2, "d": 3, "ab": 4, "abc": 5, "[UNK]": 6]),
      ("merges", ["a b", ["ab", "c"]]),
    ])
    for (key, value) in model { fields[key] = value }
    var root = JSONObject([("model", .object(fields)), ("added_tokens", .array(added))])
    for (key, value) in members { root[key] = value }
    return .object(root)
  }

  private func token(_ content: String, id: Int, _ flags: String...) -> JSON {
    var token = JSONObject([("id", .integer(id)), ("content", .string(content))])
    for flag in ["special", "single_word", "lstrip", "rstrip", "normalized"] {
      token[flag] = .bool(flags.contains(flag))
    }
    return .object(token)
  }

  @Test("Merges apply by rank, in words of any length")
  func merging() throws {
    let tokenizer = try Tokenizer(tokenizerJSON: document())
    #expect(tokenizer.encode("abcd") == [5, 3])
    #expect(tokenizer.encode("aabbc") == [0, 4, 1, 2])
    let long = tokenizer.encode(String(repeating: "abcab", count: 2000))
    #expect(long == (0..<2000).flatMap { _ in [5, 4] })
    #expect(tokenizer.encode("xaxbx") == [4], "characters without a token vanish")
  }

  @Test("Unknown characters become the unknown token, fused when the model says so")
  func unknown() throws {
    let plain = try Tokenizer(tokenizerJSON: document(model: ["unk_token": "[UNK]"]))
    #expect(plain.encode("xyaz") == [6, 6, 0, 6])
    let fused = try Tokenizer(
      tokenizerJSON: document(model: ["unk_token": "[UNK]", "fuse_unk": true]))
    #expect(fused.encode("xyaz") == [6, 0, 6])
  }

  @Test("Added tokens follow their flags")
  func addedTokens() throws {
    let tokenizer = try Tokenizer(
      tokenizerJSON: document(added: [
        token("<x>", id: 7, "special"), token("cd", id: 8, "single_word"),
        token("<l>", id: 9, "lstrip"), token("<r>", id: 10, "rstrip"), token("<x>y", id: 11),
      ]))
    #expect(tokenizer.encode("a<x>b<x>y") == [0, 7, 1, 11])
    #expect(tokenizer.encode("cd acd (cd)") == [8, 0, 2, 3, 8])
    #expect(tokenizer.encode("a <l>") == [0, 9])
    #expect(tokenizer.vocabularySize == 12)
    #expect(tokenizer.id(of: "<r>") == 10)
    #expect(tokenizer.token(for: 11) == "<x>y")
    #expect(tokenizer.token(for: 12) == nil)
    #expect(tokenizer.decode([0, 7, 4, 99], skipSpecialTokens: true) == "a ab")
  }

  @Test("Text of strangers cannot name special tokens when that is switched off")
  func specialTokensAsText() throws {
    let tokenizer = try Tokenizer(
      tokenizerJSON: document(added: [token("abc", id: 5, "special"), token("dd", id: 7)]))
    #expect(tokenizer.encode("dabcdd") == [3, 5, 7])
    let tokens = document(added: [token("[d]", id: 7, "special")])
    let other = try Tokenizer(tokenizerJSON: tokens)
    #expect(other.encode("a[d]b") == [0, 7, 1])
    #expect(other.encode("a[d]b", parseSpecialTokens: false) == [0, 3, 1])
  }

  @Test("Canonically equivalent tokens are different tokens")
  func canonicalEquivalence() throws {
    let vocabulary: JSON = ["\u{E9}": 0, "e": 1, "\u{301}": 2, "e\u{301}": 3]
    let tokenizer = try Tokenizer(
      tokenizerJSON: document(model: ["vocab": vocabulary, "merges": ["e \u{301}"]]))
    #expect(tokenizer.encode("\u{E9}e\u{301}") == [0, 3])
    #expect(tokenizer.id(of: "e\u{301}") == 3)
    #expect(tokenizer.id(of: "\u{E9}") == 0)
  }

  /// Expected ids: 0 is what the reference's tables (Unicode 9) make of the text, 1 is not.
  @Test(
    "Normalization forms are those of the reference",
    arguments: [
      // A final jamo composes with a Hangul syllable.
      ("NFC", "\u{AD18}\u{11AA}", "\u{AD1B}", "\u{AD18}"),
      // Marks are put in order, also those that a decomposition brings.
      ("NFC", "\u{F73}\u{F73}", "\u{F71}\u{F71}\u{F72}\u{F72}", "\u{F73}"),
      ("NFD", "\u{C5}\u{323}", "A\u{323}\u{30A}", "A\u{30A}\u{323}"),
      ("NFKD", "\u{1FED}\u{334}", " \u{334}\u{308}\u{300}", " \u{308}\u{334}\u{300}"),
      ("NFKC", "\u{FB01}\u{2460}\u{FF71}", "fi1\u{30A2}", "\u{FB01}"),
      // U+32FF is of Unicode 12.1.
      ("NFKC", "\u{32FF}", "\u{32FF}", "\u{4EE4}\u{548C}"),
    ])
  func normalization(form: String, text: String, right: String, wrong: String) throws {
    let vocabulary = JSON.object(JSONObject([(right, 0), (wrong, 1)]))
    let model: [String: JSON] = ["vocab": vocabulary, "merges": [], "ignore_merges": true]
    let tokenizer = try Tokenizer(
      tokenizerJSON: document(model: model, members: ["normalizer": ["type": .string(form)]]))
    #expect(tokenizer.encode(text) == [0])
  }

  @Test("Bytes that are no UTF-8 become replacement characters")
  func invalidBytes() throws {
    let tokenizer = try Tokenizer(
      tokenizerJSON: document(model: ["vocab": ["a": 0, "\u{FFFD}": 1], "merges": []]))
    #expect(tokenizer.encode(utf8: [0x61, 0xFF, 0xE2, 0x82, 0x61] as [UInt8]) == [0, 1, 1, 0])
    #expect(tokenizer.encode(utf8: [0xED, 0xA0, 0x80] as [UInt8]) == [1, 1, 1])
  }

  @Test("Unknown components are errors that name the component and the file")
  func unknownComponents() {
    for (key, nested) in [
      ("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers"), ("decoder", "decoders"),
      ("post_processor", "processors"),
    ] {
      let value = JSON.object(
        JSONObject([("type", "Sequence"), (nested, [["type": "Odd"]])]))
      #expect {
        try Tokenizer(tokenizerJSON: document(members: [key: value]), file: "t.json")
      } throws: { error in
        guard case .unknownComponent("t.json", let component, "Odd", _)? = error as? TokenizerError
        else { return false }
        return component == "\(key).\(nested)[0]"
      }
    }
    #expect(throws: TokenizerError.self) {
      try Tokenizer(tokenizerJSON: document(model: ["type": "Odd"]))
    }
  }

  @Test(
    "Malformed files are errors",
    arguments: [
      #"{}"#, #"[]"#, #"{"model": 3}"#, #"{"model": {"type": "BPE"}}"#,
      #"{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}"#,
      #"{"model": {"type": "BPE", "vocab": {"a": 1e30}, "merges": []}}"#,
      #"{"model": {"type": "BPE", "vocab": {"a": 99999999999}, "merges": []}}"#,
      #"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}"#,
      #"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["aa"]}}"#,
      #"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}}"#,
      #"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": [{}]}"#,
      #"""
      {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "pre_tokenizer":
       {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"}}
      """#,
      #"""
      {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "pre_tokenizer":
       {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Odd"}}
      """#,
    ])
  func malformed(text: String) throws {
    let json = try JSON.parse(text)
    #expect(throws: TokenizerError.self) { try Tokenizer(tokenizerJSON: json) }
  }
}
