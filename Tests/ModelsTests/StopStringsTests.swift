import Models
import Tensors
import Testing

@Suite struct StopStringsTests {
  /// Tokens that are texts of their own.
  private let words = [
    "st", "op", "stop", "opera", "sto", "pper", "las", "topper", "s", "to", "pped", "at", "",
  ]

  private func stops(_ texts: [String], _ ids: [String], prompt: [String] = []) throws -> Bool {
    let words = words
    let strings = StopStrings(texts) { Array(words[$0].utf8) }
    func numbers(_ texts: [String]) throws -> [Int] {
      try texts.map { text in try #require(words.firstIndex(of: text)) }
    }
    return strings.end(in: try numbers(ids), behind: try numbers(prompt))
  }

  @Test func aTextMayEndInsideTheLastToken() throws {
    for ids in [
      ["st", "op"], ["stop"], ["st", "opera"], ["sto", "pper"], ["las", "topper"],
      ["s", "to", "pped"],
    ] {
      #expect(try stops(["stop"], ids), "\(ids)")
      #expect(try stops(["no", "stop"], ids), "\(ids)")
      #expect(try !stops(["halt"], ids), "\(ids)")
    }
  }

  /// Only the newest token is asked: what it does not touch was there before.
  @Test func aTextThatEndedBeforeDoesNotStop() throws {
    for ids in [["stop", "at"], ["st", "op", "at"], ["stop", ""], ["st", "at", "op"], []] {
      #expect(try !stops(["stop"], ids), "\(ids)")
    }
  }

  @Test func aTextMayBeginInThePrompt() throws {
    #expect(try !stops(["stop"], ["pped"], prompt: ["at", "to"]))
    #expect(try stops(["stop"], ["pped"], prompt: ["s", "to"]))
    #expect(try !stops(["stop"], ["at"], prompt: ["stop"]))
  }

  /// Bytes of one character in two tokens.
  @Test func charactersInPieces() {
    let bytes: [[UInt8]] = [[0xC3], [0xA9, 0x21], [0x21]]
    let strings = StopStrings(["\u{e9}"]) { bytes[$0] }
    #expect(strings.end(in: [0, 1], behind: []))
    #expect(!strings.end(in: [0, 1, 2], behind: []))
    #expect(!strings.end(in: [1], behind: []))
  }

  @Test func generationEnds() throws {
    // Token i is always followed by i + 1.
    let words = words
    var table = [Double](repeating: 0, count: 13 * 13)
    for id in 0..<12 { table[id * 13 + id + 1] = 9 }
    let state = { TableState(Tensor(table, shape: [13, 13]).to(.float32)) }
    let strings = StopStrings(["pps", "zz"]) { Array(words[$0].utf8) }
    var generation = TextGeneration(GenerationConfiguration(), stopStrings: strings)
    let input = GenerationInput(tokens: [2, 6], room: 5)
    // "stop" + "opera" "sto" "pper" ...; "las" + "topper" "s" "to" "pped" "at".
    let greedy = try generation.run(input, state())
    #expect(greedy[0][0].ending == .length)
    let other = StopStrings(["sto"]) { Array(words[$0].utf8) }
    generation.stopStrings = other
    let stopped = try generation.run(input, state())
    #expect(stopped[0][0].ids == [3, 4] && stopped[0][0].ending == .stopString)
    #expect(stopped[1][0].ids == [7] && stopped[1][0].ending == .stopString)
    generation.configuration.beamCount = 2
    let beams = try generation.run(input, state())
    #expect(beams.map { $0[0].ids } == [[3, 4], [7]])
    #expect(beams.allSatisfy { $0[0].ending == .stopString })
  }
}
