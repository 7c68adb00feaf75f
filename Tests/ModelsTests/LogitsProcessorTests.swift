import JSONValues
import Models
import Tensors
import TestSupport
import Testing

/// Rules for scores give transformers' numbers (scripts/goldens/logits_processors.py).
@Suite struct LogitsProcessorTests {
  private static let fixtures = testDirectory() + "/Fixtures"

  /// A case's name, and what it is made of.
  private struct Case {
    let name: String
    let configuration: GenerationConfiguration
    let context: ProcessorContext
  }

  private func cases() throws -> [Case] {
    let json = try JSON.read(path: Self.fixtures + "/processors.json")
    return try #require(json["cases"]?.arrayValue).map { entry in
      var c = GenerationConfiguration()
      c.endOfTextIDs = json["eos_token_id"]?.arrayValue?.compactMap(\.intValue) ?? []
      let unfollowed = try c.take(try #require(entry["settings"]), path: "processors.json")
      #expect(unfollowed == [])
      let prompt = try #require(entry["prompt"]?.intValue)
      let padding = entry["padding"]?.arrayValue?.compactMap(\.intValue) ?? []
      let end = c.maximumLength ?? 1000
      // The peer's encoder reads the prompt.
      let context = ProcessorContext(
        vocabularySize: 48, device: .cpu, promptLength: prompt, padding: padding,
        endLengths: padding.map { _ in end })
      return Case(
        name: try #require(entry["name"]?.stringValue), configuration: c, context: context)
    }
  }

  @Test func everyRuleGivesThePeersNumbers() throws {
    let golden = try Goldens(Self.fixtures + "/processors.safetensors")
    let cases = try cases()
    #expect(cases.count > 50)
    for entry in cases {
      let (ids, scores) = (golden[entry.name + ".ids"], golden[entry.name + ".scores"])
      var context = entry.context
      context.encoderIDs = ids.narrowed(1, 0..<context.promptLength)
      let before = scores.array(of: Float.self)
      let found = LogitsProcessors(entry.configuration, context)(scores, after: ids)
        .array(of: Float.self)
      #expect(
        scores.array(of: Float.self).map(\.bitPattern) == before.map(\.bitPattern),
        "\(entry.name) changed its argument")
      let expected = golden[entry.name + ".expected"].array(of: Float.self)
      let wrong = zip(found, expected).enumerated().filter { _, pair in
        let (a, b) = pair
        return !(a == b || (a.isNaN && b.isNaN) || abs(a - b) <= 1e-6 * abs(b))
      }
      #expect(
        found.count == expected.count && wrong.isEmpty,
        "\(entry.name): \(wrong.prefix(3).map { "\($0.offset): \($0.element)" })")
    }
  }

  /// Each case of a single rule changes something, but for those that are not due yet.
  @Test func rulesAct() throws {
    let golden = try Goldens(Self.fixtures + "/processors.safetensors")
    let idle = [
      "minimum length reached", "forced last not yet", "growing end not yet", "top k of all",
    ]
    for entry in try cases() {
      let (scores, expected) = (golden[entry.name + ".scores"], golden[entry.name + ".expected"])
      let acts = !scores.isEqual(to: expected)
      let isIdle =
        idle.contains(entry.name) || entry.name.contains("later") || entry.name == "invalid values"
        || entry.name == "short rows"
      #expect(acts != isIdle, "\(entry.name)")
    }
  }

  /// score - frequency * count - presence * (count > 0), of what was written.
  @Test func frequencyAndPresence() {
    let scores = Tensor([1.0, 2, 3, 4, 5, 6], shape: [2, 3]).to(.float32)
    // Of each row two tokens are the prompt.
    let ids = Tensor([2, 2, 0, 0, 1, 1, 1, 2, 2, 2], shape: [2, 5])
    let rule = FrequencyPenalty(frequency: 0.5, presence: 0.25, promptLength: 2)
    let expected = Tensor([1.0 - 1.25, 2 - 0.75, 3, 4, 5, 6 - 1.75], shape: [2, 3]).to(.float32)
    expectClose(rule(scores, after: ids), expected)
    #expect(rule(scores, after: ids.narrowed(1, 0..<2)).isEqual(to: scores))
    var c = GenerationConfiguration()
    (c.frequencyPenalty, c.presencePenalty) = (0.5, 0.25)
    let context = ProcessorContext(
      vocabularySize: 3, device: .cpu, promptLength: 2, padding: [0, 0], endLengths: [9, 9])
    expectClose(LogitsProcessors(c, context)(scores, after: ids), expected)
  }

  /// However small the temperature, no infinities and no NaN come of it.
  @Test func coldScoresStayNumbers() {
    let scores = Tensor([2.0, 1, 2.5], shape: [1, 3]).to(.float32)
    let ids = Tensor([0], shape: [1, 1])
    let shares = Temperature(1e-39)(scores, after: ids).softmax().array(of: Double.self)
    #expect(shares == [0, 0, 1])
  }
}
