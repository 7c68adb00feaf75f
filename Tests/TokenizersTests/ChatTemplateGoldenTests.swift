import Foundation
import JSONValues
import Testing
import Tokenizers

/// The renderings of transformers in Fixtures/chat_templates.json, by group of templates.
@Suite struct ChatTemplateGoldenTests {
  fileprivate struct Golden {
    var number: Int
    var template: String
    var conversation: JSON
    var expected: String?
    var spans: [Range<Int>]
  }

  private static let fixture: [String: [Golden]] = {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/chat_templates.json").path
    guard let json = try? JSON.read(path: path) else { return [:] }
    let templates = json["templates"]?.arrayValue ?? []
    var groups: [String: [Golden]] = [:]
    for (number, item) in (json["cases"]?.arrayValue ?? []).enumerated() {
      let spans = (item["spans"]?.arrayValue ?? []).map { pair in
        let ends = (pair.arrayValue ?? []).compactMap(\.intValue)
        return ends[0]..<ends[1]
      }
      let golden = Golden(
        number: number,
        template: templates[item["template"]?.intValue ?? 0].stringValue ?? "",
        conversation: json["conversations"]?[item["conversation"]?.stringValue ?? ""] ?? .null,
        expected: item["expected"]?.stringValue, spans: spans)
      groups[item["name"]?.stringValue ?? "", default: []].append(golden)
    }
    return groups
  }()

  static let groups: [String] = fixture.keys.sorted()

  /// The time at which the fixture was made: 2024-07-09 08:05:03.000042.
  private static let now: Jinja.Clock = {
    let utc = TimeZone(identifier: "UTC") ?? .current
    return Jinja.Clock(date: Date(timeIntervalSince1970: 1_720_512_303.000_042_5), timeZone: utc)
  }()

  @Test func `the fixture holds the cases`() {
    #expect(Self.fixture.values.map(\.count).reduce(0, +) >= 650)
  }

  @Test(arguments: groups)
  func `a template renders what transformers renders`(group: String) {
    for golden in Self.fixture[group] ?? [] {
      let conversation = golden.conversation
      let tokens = conversation["special"]?.objectValue ?? JSONObject()
      let context = "case \(golden.number): \(golden.template)"
      do {
        let now = Self.now
        let template = try ChatTemplate(source: golden.template, limits: .init()) { now }
        let chat = try template.renderWithAssistantSpans(
          messages: conversation["messages"]?.arrayValue ?? [],
          tools: conversation["tools"],
          addGenerationPrompt: conversation["add_generation_prompt"]?.boolValue ?? false,
          specialTokens: tokens.map { ($0.key, $0.value.stringValue ?? "") },
          variables: conversation["variables"]?.objectValue ?? JSONObject())
        guard let expected = golden.expected else {
          Issue.record("\(context) must raise, and renders \(chat.text.debugDescription)")
          continue
        }
        // Bytes, because equal strings of Swift may differ in their code points.
        #expect(Array(chat.text.utf8) == Array(expected.utf8), "\(context)")
        #expect(chat.assistantSpans == golden.spans, "\(context)")
      } catch {
        #expect(golden.expected == nil, "\(context): \(error)")
      }
    }
  }
}
