import JSONValues
import Models
import TestSupport
import Testing

/// Tiny checkpoints write transformers' texts, greedily and with beams (scripts/goldens/generation.py).
@Suite struct GenerationGoldenTests {
  private static let fixtures = testDirectory() + "/Fixtures"

  private static func ids(_ json: JSON?) -> [[Int]] {
    json?.arrayValue?.map { $0.arrayValue?.compactMap(\.intValue) ?? [] } ?? []
  }

  @Test(arguments: ["llama", "gpt2", "gemma2", "mistral-window", "qwen3"])
  func textsAreThePeers(_ name: String) throws {
    let json = try JSON.read(path: Self.fixtures + "/generation.json")
    let prompts = Self.ids(json["prompts"])
    let model = try AutoModelForCausalLM.fromPretrained("\(Self.fixtures)/\(name)")
    let runs = try #require(json["runs"]?.arrayValue).filter { $0["model"]?.stringValue == name }
    #expect(runs.count == 13 && prompts.count == 3)
    for run in runs {
      let label = run["label"]?.stringValue ?? ""
      var c = GenerationConfiguration()
      _ = try c.take(try #require(run["settings"]), path: "generation.json")
      c.maximumNewTokens = json["max_new_tokens"]?.intValue
      c.paddingID = 0
      let written = try model.generate(prompts, TextGeneration(c, alternativeCount: 2)).flatMap {
        $0
      }
      #expect(written.map(\.ids) == Self.ids(run["texts"]), "\(label)")
      if let scores = run["scores"]?.arrayValue {
        for (text, score) in zip(written, scores) {
          let (a, b) = (text.score ?? .nan, score.doubleValue ?? 0)
          #expect(abs(a - b) < 1e-4 * max(1, abs(b)), "\(label): \(a), \(b)")
        }
      }
      for (text, expected) in zip(written, run["logprobs"]?.arrayValue ?? []) {
        let expected = expected.arrayValue?.compactMap(\.doubleValue) ?? []
        #expect(text.logProbabilities.count == expected.count)
        for (a, b) in zip(text.logProbabilities, expected) { #expect(abs(a - b) < 1e-4) }
      }
      for text in written {
        let ends = c.endOfTextIDs.contains(text.ids.last ?? -1)
        #expect(text.ending == (ends ? .endOfText : .length), "\(label)")
      }
    }
  }

  /// Each prompt's texts are the same alone as in a batch.
  @Test(arguments: ["llama", "gpt2"]) func batchesDoNotMatter(_ name: String) throws {
    let model = try AutoModelForCausalLM.fromPretrained("\(Self.fixtures)/\(name)")
    let prompts = [[3, 9, 4, 11, 7], [5, 6], [8, 40, 41, 8]]
    var c = GenerationConfiguration()
    (c.maximumNewTokens, c.endOfTextIDs) = (10, [2, 17, 30])
    for (beams, samples) in [(1, false), (1, true), (3, false), (3, true)] {
      (c.beamCount, c.samples, c.returnCount) = (beams, samples, beams > 1 || samples ? 2 : 1)
      (c.repetitionPenalty, c.temperature) = (1.2, 1.5)
      let together = try model.generate(prompts, TextGeneration(c))
      for (index, prompt) in prompts.enumerated() {
        let row = beams > 1 ? index : index * c.returnCount
        let alone = try model.generate([prompt], TextGeneration(c, firstRow: row))
        #expect(alone[0].map(\.ids) == together[index].map(\.ids), "\(beams) beams, \(samples)")
      }
    }
  }
}
