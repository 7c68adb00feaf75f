import Foundation
import Models
import Tensors
import TestSupport
import Testing

/// Beam search on a made-up model, whose best texts can be found by trying all.
@Suite struct BeamSearchTests {
  private static let size = 5
  private static let table =
    Tensor.randomNormal(
      [size, size], generator: Generator(seed: 4)) * 1.5
  private static let logarithms = table.logSoftmax().array(of: Double.self)

  private func score(_ ids: [Int], behind first: Int) -> Double {
    zip([first] + ids, ids).reduce(0) { $0 + Self.logarithms[$1.0 * Self.size + $1.1] }
  }

  /// All texts of a length, or shorter where they end with token 0.
  private func texts(_ length: Int) -> [[Int]] {
    guard length > 0 else { return [[]] }
    return (0..<Self.size).flatMap { first in
      first == 0 ? [[0]] : texts(length - 1).map { [first] + $0 }
    }
  }

  private func search(
    _ change: (inout GenerationConfiguration) -> Void, from tokens: [Int] = [1], room: Int = 4
  ) throws -> [[GeneratedText]] {
    var c = GenerationConfiguration()
    c.endOfTextIDs = [0]
    change(&c)
    let state = TableState(Self.table)
    return try TextGeneration(c).run(GenerationInput(tokens: tokens, room: room), state)
  }

  /// With as many beams as there are texts, the best ones are found, in their order.
  @Test(arguments: [0.0, 0.7, 1.0, 2.0]) func enoughBeamsFindTheBest(_ penalty: Double) throws {
    for first in [1, 3] {
      let found = try search(
        {
          ($0.beamCount, $0.returnCount, $0.lengthPenalty, $0.earlyStopping) = (
            300, 6, penalty, .never
          )
        },
        from: [first])[0]
      let all = texts(4).map { ids in
        (ids: ids, score: score(ids, behind: first) / pow(Double(ids.count), penalty))
      }.sorted { $0.score > $1.score }
      #expect(found.map(\.ids) == all.prefix(6).map(\.ids))
      for (text, best) in zip(found, all) {
        #expect(abs((text.score ?? 0) - best.score) < 1e-4)
      }
    }
  }

  /// More beams never find worse texts here, and one beam's text is the greedy one.
  @Test func beamsFindBetterTexts() throws {
    func best(_ beams: Int) throws -> Double {
      try search { ($0.beamCount, $0.earlyStopping) = (beams, .never) }[0][0].score ?? -.infinity
    }
    let greedy = try search { _ in }[0][0]
    let two = try best(2)
    #expect(score(greedy.ids, behind: 1) / Double(greedy.ids.count) <= two + 1e-6)
    #expect(try two <= best(300) + 1e-6)
  }

  @Test func stopsEarlyWhenFull() throws {
    // An end is likely everywhere, so that finished texts come soon.
    let state = TableState(
      Self.table + Tensor([3.0, 0, 0, 0, 0], shape: [1, 5]).to(.float32))
    var c = GenerationConfiguration()
    (c.endOfTextIDs, c.beamCount, c.returnCount) = ([0], 2, 2)
    c.earlyStopping = .whenFull
    let early = try TextGeneration(c).run(GenerationInput(tokens: [1], room: 500), state)
    #expect(state.readCount < 10)
    #expect(early[0].allSatisfy { $0.ending == .endOfText && $0.ids.last == 0 })
  }

  @Test func promptsDoNotMix() throws {
    let together = try search({ ($0.beamCount, $0.returnCount) = (3, 3) }, from: [1, 4, 2])
    for (row, first) in [1, 4, 2].enumerated() {
      let alone = try search({ ($0.beamCount, $0.returnCount) = (3, 3) }, from: [first])
      #expect(alone[0].map(\.ids) == together[row].map(\.ids))
      #expect(together[row].allSatisfy { $0.prompt == row })
    }
  }

  /// Logarithms of probabilities are those of a text's own tokens, wherever its beam stood.
  @Test func logProbabilitiesFollowTheirText() throws {
    var c = GenerationConfiguration()
    (c.endOfTextIDs, c.beamCount, c.returnCount) = ([0], 4, 4)
    let state = TableState(Self.table)
    let texts = try TextGeneration(c, alternativeCount: 1).run(
      GenerationInput(tokens: [1], room: 6), state)[0]
    #expect(texts.count == 4)
    for text in texts {
      #expect(text.logProbabilities.count == text.ids.count)
      #expect(abs(text.logProbabilities.reduce(0, +) - score(text.ids, behind: 1)) < 1e-4)
      for (before, choices) in zip([1] + text.ids, text.alternatives) {
        let row = Self.logarithms[before * Self.size..<(before + 1) * Self.size]
        #expect(choices.map(\.id) == [(row.firstIndex(of: row.max() ?? 0) ?? 0) - row.startIndex])
      }
    }
  }
}
