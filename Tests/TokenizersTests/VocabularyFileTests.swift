import Foundation
import JSONValues
import Testing
import Tokenizers

/// Directories without tokenizer.json; `scripts/goldens/vocabulary_files.py` asked transformers for the ids.
@Suite("Vocabulary files")
struct VocabularyFileTests {
  private static func fixture() throws -> JSON {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/vocabulary-files.json")
    return try JSON.read(path: file.path)
  }

  private func withDirectory(_ files: JSONObject, _ body: (String) throws -> Void) throws {
    let directory = FileManager.default.temporaryDirectory
      .appendingPathComponent("vocabulary-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    for (name, content) in files {
      let data: Data
      if let text = content.stringValue {
        data = Data(text.utf8)
      } else if let code = content["base64"]?.stringValue {
        data = try #require(Data(base64Encoded: code))
      } else {
        data = Data(content.serialized().utf8)
      }
      try data.write(to: directory.appendingPathComponent(name))
    }
    try body(directory.path)
  }

  private func numbers(_ json: JSON?) -> [Int] { json?.arrayValue?.compactMap(\.intValue) ?? [] }

  @Test("Ids are those of transformers' classes")
  func peers() throws {
    let fixture = try Self.fixture()
    let texts = fixture["texts"]?.arrayValue?.compactMap(\.stringValue) ?? []
    let cases = fixture["cases"]?.arrayValue ?? []
    #expect(cases.count == 12)
    for entry in cases {
      let name = try #require(entry["name"]?.stringValue)
      try withDirectory(try #require(entry["files"]?.objectValue)) { directory in
        let tokenizer = try Tokenizer(directory: directory)
        for (text, ids) in zip(texts, entry["ids"]?.arrayValue ?? []) {
          #expect(tokenizer.encode(text) == numbers(ids), "\(name): \(text.debugDescription)")
        }
        let pair = try tokenizer.encoding(of: .text(texts[0]), pair: .text(texts[3]))
        #expect(pair.ids == numbers(entry["pair"]), "\(name), a pair")
        for (key, id) in entry["special"]?.objectValue ?? JSONObject() {
          let token = tokenizer.specialTokens.first { $0.name == key }?.token
          #expect(token.flatMap(tokenizer.id) == id.intValue, "\(name): \(key)")
        }
      }
    }
  }

  private func failure(_ files: JSON) throws -> String {
    var message = ""
    try withDirectory(files.objectValue ?? JSONObject()) { directory in
      do {
        _ = try Tokenizer(directory: directory)
      } catch {
        message = "\(error)".replacing(directory + "/", with: "")
      }
    }
    return message
  }

  @Test("What is missing or malformed is named")
  func errors() throws {
    let vocabulary: JSON = ["a": 0, "b": 1, "ab": 2]
    #expect(
      try failure(["vocab.json": vocabulary]).hasPrefix("merges.txt: GPT2Tokenizer: there is no"))
    let lines = try failure(["vocab.json": vocabulary, "merges.txt": "#version: 0.2\na b\na b c\n"])
    #expect(lines == "merges.txt: line 3: expected two tokens with a space between them")
    let unknown = try failure(["vocab.json": vocabulary, "merges.txt": "a c\n"])
    #expect(unknown.hasPrefix("vocab.json: model.merges"), "\(unknown)")
    let ids = try failure(["vocab.json": ["a": -1], "merges.txt": ""])
    #expect(ids.hasPrefix("vocab.json: the token \"a\": expected an id from 0 to"))
    #expect(try failure(["vocab.txt": ""]) == "vocab.txt: the file: it is empty")
    let other = try failure([
      "vocab.json": vocabulary, "merges.txt": "a b\n",
      "tokenizer_config.json": ["tokenizer_class": "CLIPTokenizer"],
    ])
    #expect(other.contains("tokenizer_class has the type \"CLIPTokenizer\""))
    #expect(other.contains("RobertaTokenizer"))
    let added = try failure(["vocab.txt": "[UNK]\na\n", "added_tokens.json": ["x": "y"]])
    #expect(added == "added_tokens.json: \"x\": expected an id")
    let none = try failure([:])
    #expect(none.hasPrefix("tokenizer.json: no such file") && none.contains("vocab.txt"))
  }
}
