import Foundation
import JSONValues
import Testing
import Tokenizers

@Suite("Bytes of single tokens")
struct TokenBytesTests {
  private func tokenizer(_ vocabulary: [String], decoder: JSON) throws -> Tokenizer {
    let ids = JSONObject(vocabulary.enumerated().map { ($0.element, .integer($0.offset)) })
    return try Tokenizer(tokenizerJSON: [
      "added_tokens": [], "decoder": decoder,
      "model": ["type": "BPE", "vocab": .object(ids), "merges": []],
    ])
  }

  @Test("Byte-level tokens are their bytes, also parts of characters")
  func byteLevel() throws {
    let tokenizer = try tokenizer(
      ["a", "\u{120}b", "\u{c3}", "\u{a9}!"], decoder: ["type": "ByteLevel"])
    let bytes = (0..<4).map { tokenizer.bytes(of: $0) }
    #expect(bytes == [[0x61], [0x20, 0x62], [0xC3], [0xA9, 0x21]])
    #expect(tokenizer.bytes(of: 99) == [])
  }

  @Test("SentencePiece tokens keep the space that a text's first token loses")
  func metaspace() throws {
    let tokenizer = try tokenizer(
      ["a", "b", "c", "d", "e", "f", "\u{2581}end", "<0xC3>"],
      decoder: [
        "type": "Sequence",
        "decoders": [
          ["type": "Replace", "pattern": ["String": "\u{2581}"], "content": " "],
          ["type": "ByteFallback"], ["type": "Fuse"],
          ["type": "Strip", "content": " ", "start": 1, "stop": 0],
        ],
      ])
    #expect(tokenizer.decode([6]) == "end")
    #expect(tokenizer.bytes(of: 6) == Array(" end".utf8))
    #expect(tokenizer.bytes(of: 7) == [0xC3])
    #expect(tokenizer.bytes(of: 0) == [0x61])
  }
}
