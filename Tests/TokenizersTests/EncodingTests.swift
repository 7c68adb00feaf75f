import Foundation
import JSONValues
import Testing
import Tokenizers

@Suite("Encodings")
struct EncodingTests {
  /// Words `a` to `d`, cut at white space, between `<s>` and `</s>`.
  private func make(members: [String: JSON] = [:]) throws -> Tokenizer {
    var root = JSONObject([
      (
        "model",
        [
          "type": "WordLevel", "unk_token": "?",
          "vocab": ["?": 0, "a": 1, "b": 2, "c": 3, "d": 4, "<s>": 5, "</s>": 6],
        ]
      ),
      ("pre_tokenizer", ["type": "WhitespaceSplit"]),
      ("post_processor", ["type": "BertProcessing", "cls": ["<s>", 5], "sep": ["</s>", 6]]),
    ])
    for (key, value) in members { root[key] = value }
    return try Tokenizer(tokenizerJSON: .object(root))
  }

  @Test("Offsets count characters or bytes")
  func units() throws {
    let tokenizer = try make()
    let scalars = try tokenizer.encoding(of: "\u{E9} a", addSpecialTokens: false)
    #expect(scalars.offsets == [.init(0, 1), .init(2, 3)])
    let bytes = try tokenizer.encoding(of: "\u{E9} a", addSpecialTokens: false, unit: .bytes)
    #expect(bytes.offsets == [.init(0, 2), .init(3, 4)])
  }

  @Test("A pair has type ids, words and a mask of special tokens")
  func pairs() throws {
    let encoding = try make().encoding(of: "a b", pair: "c")
    #expect(encoding.ids == [5, 1, 2, 6, 3, 6])
    #expect(encoding.typeIDs == [0, 0, 0, 0, 1, 1])
    #expect(encoding.wordIDs == [nil, 0, 1, nil, 0, nil])
    #expect(encoding.sequenceIDs == [nil, 0, 0, nil, 1, nil])
    #expect(encoding.specialTokensMask == [true, false, false, true, false, true])
  }

  @Test("What is cut off comes in parts with their own special tokens")
  func overflow() throws {
    let encoding = try make().encoding(
      of: "a b c d", truncation: Truncation(maximumLength: 4, stride: 1))
    #expect(encoding.ids == [5, 1, 2, 6])
    #expect(encoding.overflowing.map(\.ids) == [[5, 2, 3, 6], [5, 3, 4, 6]])
    let left = try make().encoding(
      of: "a b c d", truncation: Truncation(maximumLength: 4, direction: .left))
    #expect(left.ids == [5, 3, 4, 6])
  }

  @Test(
    "A length that cannot be met is an error",
    arguments: [
      Truncation(maximumLength: 1), Truncation(maximumLength: 3, strategy: .onlySecond),
      Truncation(maximumLength: 3, stride: 1),
    ])
  func impossible(rule: Truncation) throws {
    let tokenizer = try make()
    #expect(throws: TokenizerError.self) { try tokenizer.encoding(of: "a b c", truncation: rule) }
  }

  @Test("A batch is filled to its longest text, on either side")
  func padding() throws {
    let inputs: [(text: TokenizerInput, pair: TokenizerInput?)] = [("a", nil), ("a b c", nil)]
    let batch = try make().encodings(
      of: inputs, padding: Padding(direction: .left, multiple: 4, id: 9))
    #expect(batch.map(\.count) == [8, 8])
    #expect(batch[0].ids == [9, 9, 9, 9, 9, 5, 1, 6])
    #expect(batch[0].attentionMask.filter { $0 }.count == 3)
  }

  @Test("Batches give what texts give one by one")
  func batches() throws {
    let tokenizer = try make()
    let texts = (0..<500).map { String(repeating: "a b d ", count: $0 % 17) }
    #expect(tokenizer.encodeBatch(texts) == texts.map { tokenizer.encode($0) })
    let ids = texts.map { tokenizer.encode($0) }
    #expect(tokenizer.decodeBatch(ids) == ids.map { tokenizer.decode($0) })
  }

  @Test("Words are encoded one by one")
  func words() throws {
    let encoding = try make().encoding(of: .words(["a", "b c"]), addSpecialTokens: false)
    #expect(encoding.ids == [1, 2, 3])
    #expect(encoding.wordIDs == [0, 1, 1])
    #expect(encoding.offsets == [.init(0, 1), .init(0, 1), .init(2, 3)])
  }

  @Test("The file's rules are read")
  func rules() throws {
    let tokenizer = try make(members: [
      "truncation": [
        "direction": "Left", "max_length": 7, "strategy": "OnlyFirst", "stride": 2,
      ],
      "padding": [
        "strategy": ["Fixed": 9], "direction": "Right", "pad_to_multiple_of": nil, "pad_id": 3,
        "pad_type_id": 1, "pad_token": "c",
      ],
    ])
    #expect(
      tokenizer.truncation
        == Truncation(maximumLength: 7, strategy: .onlyFirst, direction: .left, stride: 2))
    #expect(tokenizer.padding == Padding(strategy: .fixed(9), id: 3, typeID: 1, token: "c"))
  }

  @Test("With dropout, the merges that are made differ from time to time, the text never")
  func dropout() throws {
    let model: JSON = [
      "type": "BPE", "dropout": 0.5, "vocab": ["a": 0, "b": 1, "ab": 2, "abab": 3],
      "merges": ["a b", "ab ab"],
    ]
    let tokenizer = try Tokenizer(tokenizerJSON: ["model": model, "decoder": ["type": "Fuse"]])
    let results = Set((0..<200).map { _ in tokenizer.encode("abababab") })
    #expect(results.count > 5)
    #expect(results.allSatisfy { tokenizer.decode($0) == "abababab" })
  }
}
