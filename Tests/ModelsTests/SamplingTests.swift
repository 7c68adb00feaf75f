import Foundation
import Models
import Tensors
import TestSupport
import Testing

@Suite struct SamplingTests {
  private let scores = Tensor([2.0, 1.0, 0.0, -1.0, 1.1, 0.3, -0.4, 1.7], shape: [1, 8]).to(
    .float32)

  /// Tokens that a model with the same scores everywhere is made to write, by row.
  private func draws(
    _ c: GenerationConfiguration, rows: Int, count: Int, firstRow: Int = 0
  ) throws -> [[Int]] {
    let state = TableState(scores.expanded([8, -1]).contiguous())
    let input = GenerationInput(tokens: Array(repeating: 0, count: rows), room: count)
    return try TextGeneration(c, firstRow: firstRow).run(input, state).map { $0[0].ids }
  }

  private func sampling(seed: UInt64) -> GenerationConfiguration {
    var c = GenerationConfiguration()
    (c.samples, c.topK, c.seed) = (true, 0, seed)
    return c
  }

  /// The value that chi-square exceeds once in a million times (Wilson and Hilferty's formula).
  private func limit(_ freedom: Int) -> Double {
    let share = 2 / (9 * Double(freedom))
    return Double(freedom) * pow(1 - share + 4.753 * share.squareRoot(), 3)
  }

  /// Shares of 20,000 draws are those of the probabilities that the filters leave.
  @Test func drawsFollowTheProbabilities() throws {
    var cases = [(name: "plain", c: sampling(seed: 11))]
    func add(_ name: String, _ change: (inout GenerationConfiguration) -> Void) {
      var c = sampling(seed: UInt64(cases.count) + 40)
      change(&c)
      cases.append((name, c))
    }
    add("temperature") { $0.temperature = 0.6 }
    add("top k") { $0.topK = 4 }
    add("top p") { $0.topP = 0.85 }
    add("min p") { $0.minP = 0.2 }
    add("typical") { $0.typicalP = 0.7 }
    add("all") { ($0.temperature, $0.topK, $0.topP, $0.minP) = (1.5, 6, 0.95, 0.05) }
    let context = ProcessorContext(
      vocabularySize: 8, device: .cpu, promptLength: 1, padding: [0], endLengths: [9])
    for (name, c) in cases {
      let rules = LogitsProcessors(c, context)
      let shares = rules(scores, after: Tensor([0], shape: [1, 1])).softmax().array(of: Double.self)
      var seen = [Double](repeating: 0, count: 8)
      for token in try draws(c, rows: 50, count: 400).joined() { seen[token] += 1 }
      #expect(seen.reduce(0, +) == 20_000)
      var sum = 0.0
      for (count, share) in zip(seen, shares) {
        if share == 0 {
          #expect(count == 0, "\(name)")
        } else {
          sum += (count - share * 20_000) * (count - share * 20_000) / (share * 20_000)
        }
      }
      let freedom = shares.count { $0 > 0 } - 1
      #expect(freedom >= 2 && sum < limit(freedom), "\(name): \(sum), \(limit(freedom))")
      // The test sees probabilities that are wrong by a tenth.
      let best = shares.enumerated().max { $0.element < $1.element }?.offset ?? 0
      let shifted = shares.enumerated().map { $0.offset == best ? $0.element * 0.9 : $0.element }
      let wrong = zip(seen, shifted).reduce(0.0) { sum, pair in
        let expected = pair.1 / shifted.reduce(0, +) * 20_000
        return expected == 0
          ? sum : sum + (pair.0 - expected) * (pair.0 - expected) / expected
      }
      #expect(wrong > limit(freedom), "\(name)")
    }
  }

  /// A row's draws are its own, whatever batch it is in.
  @Test func rowsAreIndependentOfTheBatch() throws {
    let together = try draws(sampling(seed: 5), rows: 4, count: 30)
    for row in 0..<4 {
      #expect(try draws(sampling(seed: 5), rows: 1, count: 30, firstRow: row) == [together[row]])
    }
    #expect(Set(together).count == 4)
  }

  @Test func seedDecides() throws {
    let first = try draws(sampling(seed: 1), rows: 1, count: 40)
    #expect(try draws(sampling(seed: 1), rows: 1, count: 40) == first)
    #expect(try draws(sampling(seed: 2), rows: 1, count: 40) != first)
  }

  @Test func severalTextsOfOnePromptDiffer() throws {
    var c = sampling(seed: 3)
    c.returnCount = 5
    let state = TableState(scores.expanded([8, -1]).contiguous())
    let texts = try TextGeneration(c).run(GenerationInput(tokens: [0, 1], room: 20), state)
    #expect(texts.map(\.count) == [5, 5])
    #expect(texts.joined().map(\.prompt) == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    #expect(Set(texts.joined().map(\.ids)).count == 10)
    #expect(state.origins == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
  }

  @Test func nothingAllowedIsAnError() {
    var c = GenerationConfiguration()
    c.suppressedIDs = Array(0..<8)
    #expect(throws: ModelError.input("every token is forbidden by the rules of generation")) {
      try draws(c, rows: 1, count: 3)
    }
    (c.samples, c.topK) = (true, 3)
    #expect(throws: ModelError.self) { try draws(c, rows: 1, count: 3) }
    (c.samples, c.beamCount) = (false, 2)
    #expect(throws: ModelError.self) { try draws(c, rows: 1, count: 3) }
  }
}
