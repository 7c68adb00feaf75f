import JSONValues
import Models
import TestSupport
import Testing

/// Tiny models with encoder and decoder write transformers' texts (scripts/goldens/seq2seq_generation.py).
@Suite struct Seq2SeqGenerationTests {
  private static let fixtures = testDirectory() + "/Seq2SeqFixtures"
  private static let sources = [[3, 9, 4, 11, 7, 20, 31, 2], [5, 6, 2], [8, 40, 41, 8, 2]]

  private static func ids(_ json: JSON?) -> [[Int]] {
    json?.arrayValue?.map { $0.arrayValue?.compactMap(\.intValue) ?? [] } ?? []
  }

  private func model(_ name: String) throws -> EncoderDecoderForConditionalGeneration {
    try AutoModelForSeq2SeqLM.fromPretrained("\(Self.fixtures)/\(name)")
  }

  @Test(arguments: ["t5", "bart"]) func textsAreThePeers(_ name: String) throws {
    let json = try JSON.read(path: Self.fixtures + "/generation.json")
    #expect(Self.ids(json["sources"]) == Self.sources)
    let model = try model(name)
    let runs = try #require(json["runs"]?.arrayValue).filter { $0["model"]?.stringValue == name }
    #expect(runs.count == 11)
    for run in runs {
      let label = run["label"]?.stringValue ?? ""
      var c = try GenerationConfiguration.fromPretrained("\(Self.fixtures)/\(name)").configuration
      #expect(c.decoderStartID == (name == "t5" ? 0 : 2))
      let settings = try #require(run["settings"])
      _ = try c.take(settings, path: "generation.json")
      if settings["max_length"] == nil { c.maximumNewTokens = json["max_new_tokens"]?.intValue }
      let written = try model.generate(Self.sources, TextGeneration(c, alternativeCount: 2))
        .flatMap { $0 }
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
    }
  }

  /// Each source's texts are the same alone as in a batch, drawn ones too.
  @Test(arguments: ["t5", "bart"]) func batchesDoNotMatter(_ name: String) throws {
    let model = try model(name)
    var c = try GenerationConfiguration.fromPretrained("\(Self.fixtures)/\(name)").configuration
    (c.maximumNewTokens, c.endOfTextIDs) = (10, [2, 17, 30, 6])
    for (beams, samples) in [(1, false), (1, true), (3, false), (3, true)] {
      (c.beamCount, c.samples, c.returnCount) = (beams, samples, beams > 1 || samples ? 2 : 1)
      c.temperature = 1.5
      let together = try model.generate(Self.sources, TextGeneration(c))
      for (index, source) in Self.sources.enumerated() {
        let row = beams > 1 ? index : index * c.returnCount
        let alone = try model.generate([source], TextGeneration(c, firstRow: row))
        #expect(alone[0].map(\.ids) == together[index].map(\.ids), "\(beams) beams, \(samples)")
      }
    }
  }

  @Test func tokensAreToldAsTheyComeAndTheCacheGrows() throws {
    let model = try model("t5")
    var c = GenerationConfiguration()
    (c.maximumNewTokens, c.suppressedIDs) = (140, [2])
    var told: [Int: [Int]] = [:]
    let texts = try model.generate(Self.sources, TextGeneration(c)) { row, token in
      told[row, default: []].append(token)
      return true
    }
    #expect(texts.map { $0[0].ids } == (0..<3).map { told[$0] ?? [] })
    // More than the cache begins with; the beginning does not depend on how far it goes.
    #expect(texts.allSatisfy { $0[0].ids.count == 140 })
    let short = try model.generate(prompts: Self.sources, maximumNewTokens: 9, endOfTextIDs: [])
    #expect(short.map(\.count) == [9, 9, 9])
    let free = try model.generate(prompts: [Self.sources[1]], maximumNewTokens: 9)
    #expect(short[1].starts(with: free[0]))
  }

  @Test func wrongRowsAreNamed() throws {
    let bart = try model("bart")
    let c = TextGeneration(GenerationConfiguration())
    expectRefusal("no tokens") { try bart.generate([[]], c) }
    expectRefusal("token id 48") { try bart.generate([[48]], c) }
    expectRefusal("41 tokens", "40") { try bart.generate([Array(repeating: 3, count: 41)], c) }
    var wrong = GenerationConfiguration()
    wrong.decoderStartID = 50
    expectRefusal("decoder_start_token_id", "50") {
      try bart.generate([[3]], TextGeneration(wrong))
    }
    // What is written ends at the model's own limit.
    var long = GenerationConfiguration()
    (long.maximumNewTokens, long.suppressedIDs) = (100, [2])
    #expect(try bart.generate([[3, 4]], TextGeneration(long))[0][0].ids.count == 39)
  }
}
