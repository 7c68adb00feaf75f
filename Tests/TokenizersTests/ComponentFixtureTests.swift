import Foundation
import JSONValues
import Testing
import Tokenizers

/// Small tokenizers of every kind of component, with what Hugging Face's `tokenizers` answers;
/// written by scripts/goldens/tokenizer_components.py.
@Suite("Components of tokenizers agree with the reference")
struct ComponentFixtureTests {
  static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Fixtures/components")

  static let names: [String] = {
    let files = try? FileManager.default.contentsOfDirectory(atPath: directory.path)
    return (files ?? []).filter { $0.hasSuffix(".jsonl") }.sorted()
  }()

  @Test("There is a fixture for each recipe")
  func count() {
    #expect(Self.names.count == 8)
  }

  @Test("Ids, tokens, offsets, masks, cuts and texts are those of the reference", arguments: names)
  func answers(name: String) throws {
    let data = try Data(contentsOf: Self.directory.appendingPathComponent(name))
    let lines = data.split(separator: UInt8(ascii: "\n"))
    let tokenizer = try Tokenizer(
      tokenizerJSON: try JSON.parse(lines[0], file: name), file: name)
    let requests = stride(from: 1, to: lines.count, by: 2).map { lines[$0] }
    let expected = try stride(from: 2, to: lines.count, by: 2).map {
      try JSON.parse(lines[$0], file: name)
    }
    var answers: [JSON] = []
    try TokenizationDocument(tokenizer).answer(
      requests: Data(requests.joined(separator: [UInt8(ascii: "\n")]))
    ) { answers.append($0) }
    #expect(answers.count == expected.count)
    #expect(answers.count > 50)
    for (index, (answer, right)) in zip(answers, expected).enumerated() {
      for (key, value) in right.objectValue ?? JSONObject() {
        #expect(
          answer[key]?.serialized() == value.serialized(),
          "\(key) of \(String(decoding: requests[index], as: UTF8.self))")
      }
    }
  }
}
