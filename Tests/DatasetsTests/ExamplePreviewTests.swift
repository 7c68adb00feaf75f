import Datasets
import Foundation
import Testing

/// Records shown token by token.
@Suite struct ExamplePreviewTests {
  private func preview(
    _ line: String, length: Int = 64, onPrompt: Bool = false, begins: Bool = true
  ) throws -> ExamplePreview {
    let encoder = try ExampleEncoder(
      tokenizer: Toy.tokenizer(begins: begins), maximumLength: length, trainsOnPrompt: onPrompt)
    return try encoder.preview(of: records(line)[0])
  }

  private func roles(_ preview: ExamplePreview) -> String {
    preview.tokens.map { String($0.role.rawValue.prefix(1)) }.joined()
  }

  private let line = #"{"prompt": "abcdefghij\n", "completion": "ok!"}"#

  @Test func `tokens stand beside their labels`() throws {
    let found = try preview(line)
    #expect(found.tokens.map(\.text).joined() == "<s>abcdefghij\nok!</s>")
    #expect(roles(found) == "mmmmmmmmmmmmttt")
    #expect(found.tokens.suffix(3).map(\.label) == [150, 33, 202])
    #expect(found.tokens.dropLast(3).allSatisfy { $0.label == nil })
    #expect(found.format == .promptCompletion)
    #expect(found.targetCount == 3 && found.maskedCount == 12 && found.isKept)
    #expect(found.truncation == nil)
  }

  @Test func `the first token is asked of nobody`() throws {
    let found = try preview(#"{"text": "ab"}"#, begins: false)
    #expect(roles(found) == "utt")
    #expect(found.tokens[0].label == 97)
    #expect(roles(try preview(#"{"text": "ab"}"#)) == "mttt")
    let whole = roles(try preview(line, onPrompt: true))
    #expect(whole == "u" + String(repeating: "t", count: 14))
  }

  @Test func `what is cut stays to be seen`() throws {
    let found = try preview(line, length: 8)
    #expect(found.tokens.count == 15)
    #expect(roles(found) == "mcccccccmmmmttt")
    #expect(found.truncation == TruncatedSpans(prompt: 1..<8, end: 15..<15))
    let short = try preview(line, length: 3)
    #expect(roles(short) == String(repeating: "c", count: 11) + "mttc")
    #expect(short.targetCount == 2)
  }

  @Test func `a file's preview counts as encoding it does`() throws {
    let text = """
      {"prompt": "a", "completion": "bcdefghijkl", "id": 1}
      {"text": "abcdefghijklm"}
      {"prompt": "a!", "completion": "?"}
      """
    let path = NSTemporaryDirectory() + "preview-\(UUID().uuidString).jsonl"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    let encoder = try ExampleEncoder(tokenizer: Toy.tokenizer(), maximumLength: 8)
    var seen: [ExamplePreview] = []
    let report = try encoder.preview(path: path) { seen.append($0) }
    let (examples, encoded) = try encoder.encode(path: path)
    #expect(report == encoded)
    #expect(report.truncatedCount == 2 && report.boundaryCount == 1)
    #expect(seen.map(\.targetCount) == examples.map(\.targetCount))
    #expect(seen.map(\.mergesAcross) == [false, false, true])
    for (preview, example) in zip(seen, examples) {
      let kept = preview.tokens.filter { $0.role != .cut }
      #expect(kept.map { Int32($0.id) } == example.ids)
      #expect(kept.map { $0.label.map { Int32($0) } ?? ignoredLabelID } == example.labels)
    }
  }

  @Test func `records without an answer are shown, not refused`() throws {
    let encoder = try ExampleEncoder(tokenizer: Toy.tokenizer(chat: Toy.chat), maximumLength: 64)
    let silent = try records(#"{"messages": [{"role": "user", "content": "a"}]}"#)[0]
    let found = try encoder.preview(of: silent)
    #expect(!found.isKept && found.targetCount == 0 && !found.tokens.isEmpty)
  }

  @Test func `spaces of a metaspace vocabulary are shown as spaces`() throws {
    let encoder = try ExampleEncoder(
      tokenizer: Toy.tokenizer(metaspace: true), maximumLength: 64)
    let found = try encoder.preview(of: records(#"{"text": "a"}"#)[0])
    #expect(found.tokens.map(\.text) == [" ", "a", "</s>"])
  }
}
