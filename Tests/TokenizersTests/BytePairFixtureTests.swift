import Foundation
import JSONValues
import Testing
import Tokenizers

/// Tiny tokenizers of the recipes that real models use, with what Hugging Face's `tokenizers` makes
/// of a list of texts; written by scripts/goldens/byte_pair_tokenizers.py.
@Suite("Byte-pair tokenizers agree with the reference")
struct BytePairFixtureTests {
  static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Fixtures/byte-pair")

  static let names: [String] = {
    let files = try? FileManager.default.contentsOfDirectory(atPath: directory.path)
    return (files ?? []).filter { $0.hasSuffix(".json") }.sorted()
  }()

  private struct Case {
    var text: String?
    var ids: [Int]
    var decoded: String
    var skipped: String

    init(_ json: JSON) throws {
      text = json["text"]?.stringValue
      ids = try #require(json["ids"]?.arrayValue).compactMap(\.intValue)
      decoded = try #require(json["decoded"]?.stringValue)
      skipped = try #require(json["skipped"]?.stringValue)
    }
  }

  private func load(_ name: String) throws -> (tokenizer: Tokenizer, cases: [Case]) {
    let json = try JSON.read(path: Self.directory.appendingPathComponent(name).path)
    let tokenizer = try Tokenizer(tokenizerJSON: try #require(json["tokenizer"]), file: name)
    #expect(tokenizer.vocabularySize == json["size"]?.intValue)
    return (tokenizer, try #require(json["cases"]?.arrayValue).map { try Case($0) })
  }

  @Test("There is a fixture for each recipe")
  func count() {
    #expect(Self.names.count == 20)
  }

  @Test("The ids of every text are those of the reference", arguments: names)
  func encoding(name: String) throws {
    let (tokenizer, cases) = try load(name)
    var count = 0
    for (index, example) in cases.enumerated() {
      guard let text = example.text else { continue }
      count += 1
      #expect(tokenizer.encode(text) == example.ids, "case \(index)")
      // A second time, from the cache.
      #expect(tokenizer.encode(text) == example.ids, "case \(index) again")
    }
    #expect(count > 50)
  }

  @Test("Decoded text is that of the reference, with and without special tokens", arguments: names)
  func decoding(name: String) throws {
    let (tokenizer, cases) = try load(name)
    for (index, example) in cases.enumerated() {
      let decoded = tokenizer.decode(example.ids)
      #expect(decoded.utf8.elementsEqual(example.decoded.utf8), "case \(index)")
      let skipped = tokenizer.decode(example.ids, skipSpecialTokens: true)
      #expect(skipped.utf8.elementsEqual(example.skipped.utf8), "case \(index) skipped")
    }
  }

  @Test("Decoding one id at a time gives the same text", arguments: names)
  func streaming(name: String) throws {
    let (tokenizer, cases) = try load(name)
    for (index, example) in cases.enumerated() {
      for (skips, expected) in [(false, example.decoded), (true, example.skipped)] {
        var decoder = tokenizer.streamingDecoder(skipSpecialTokens: skips)
        var text = ""
        for id in example.ids {
          text += decoder.append(id)
          #expect(expected.utf8.starts(with: text.utf8), "case \(index)")
        }
        text += decoder.finish()
        #expect(text.utf8.elementsEqual(expected.utf8), "case \(index)")
      }
    }
  }

  @Test("Several threads may encode at once")
  func threads() async throws {
    let (tokenizer, cases) = try load("llama3.json")
    let texts = cases.compactMap { example in example.text.map { ($0, example.ids) } }
    await withTaskGroup(of: Bool.self) { group in
      for shift in 0..<8 {
        group.addTask {
          (0..<texts.count * 4).allSatisfy { step in
            let (text, ids) = texts[(step * 7 + shift) % texts.count]
            return tokenizer.encode(text) == ids
          }
        }
      }
      for await agrees in group { #expect(agrees) }
    }
  }
}
