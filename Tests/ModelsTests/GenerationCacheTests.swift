import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Keys and values that are used again give the texts that computing everything gives.
@Suite struct GenerationCacheTests {
  private func model(_ name: String) throws -> DecoderForCausalLM {
    try AutoModelForCausalLM.fromPretrained("\(testDirectory())/Fixtures/\(name)")
  }

  private func greedy(_ count: Int) -> TextGeneration {
    var c = GenerationConfiguration()
    c.maximumNewTokens = count
    return TextGeneration(c, alternativeCount: 0)
  }

  private func expectSame(_ a: [[GeneratedText]], _ b: [[GeneratedText]]) {
    #expect(a.map { $0.map(\.ids) } == b.map { $0.map(\.ids) })
    for (x, y) in zip(a.joined(), b.joined()) {
      for (p, q) in zip(x.logProbabilities, y.logProbabilities) { #expect(abs(p - q) < 1e-4) }
    }
  }

  /// A conversation: each prompt begins with the one before and its answer.
  @Test(arguments: ["llama", "gpt2", "gemma2", "mistral-window"])
  func conversations(_ name: String) throws {
    let model = try model(name)
    let prefix = PrefixCache()
    var ids = [3, 9, 4, 11]
    for more in [[20, 31], [7, 7, 8], [5]] {
      ids += more
      let known = prefix.ids
      let found = try model.generate([ids], greedy(6), prefix: prefix)
      expectSame(found, try model.generate([ids], greedy(6)))
      #expect(prefix.reusedCount == known.count)
      ids += found[0][0].ids
      // The last token was never read.
      #expect(prefix.ids == ids.dropLast())
    }
    // Another text that begins alike goes on from where they part.
    let other = Array(ids.prefix(5)) + [40, 41]
    expectSame(
      try model.generate([other], greedy(6), prefix: prefix),
      try model.generate([other], greedy(6)))
    #expect(prefix.reusedCount == 5)
    prefix.reset()
    expectSame(
      try model.generate([other], greedy(6), prefix: prefix),
      try model.generate([other], greedy(6)))
    #expect(prefix.reusedCount == 0)
    // At least one token is read, also of the same prompt.
    expectSame(
      try model.generate([other], greedy(6), prefix: prefix),
      try model.generate([other], greedy(6)))
    #expect(prefix.reusedCount == other.count - 1)
  }

  /// What several prompts begin with is computed once, also behind padding and with beams.
  @Test(arguments: ["llama", "gpt2", "gemma2", "mistral-window", "gemma3"])
  func sharedBeginnings(_ name: String) throws {
    let model = try model(name)
    let start = [3, 9, 4, 11, 30, 31, 32]
    let even = [[1, 2], [5, 6], [40, 2]].map { start + $0 }
    let uneven = [[1, 2, 9, 9], [5], [40, 2]].map { start + $0 }
    let hasWindows = name.hasPrefix("g") && name != "gpt2" || name == "mistral-window"
    for (prompts, shares) in [(even, true), (uneven, !hasWindows)] {
      let prefix = try model.sharedPrefix(of: prompts)
      #expect(prefix.ids == start)
      var generation = greedy(8)
      for beams in [1, 3] {
        generation.configuration.beamCount = beams
        generation.configuration.repetitionPenalty = 1.2
        let found = try model.generate(prompts, generation, prefix: prefix)
        #expect(prefix.reusedCount == (shares ? start.count : 0))
        expectSame(found, try model.generate(prompts, generation))
      }
      #expect(prefix.ids == start)
    }
    #expect(try model.sharedPrefix(of: [[1, 2], [2, 1]]).ids == [])
  }

  /// Logarithms of probabilities are those of a pass over the whole text.
  @Test(arguments: ["llama", "gpt2"]) func logProbabilitiesAreThoseOfWholePasses(_ name: String)
    throws
  {
    let model = try model(name)
    var generation = greedy(9)
    (generation.configuration.beamCount, generation.configuration.returnCount) = (3, 3)
    generation.configuration.endOfTextIDs = [2, 17, 30]
    let prompts = [[3, 9, 4, 11, 7], [5, 6]]
    for text in try model.generate(prompts, generation).joined() {
      let row = prompts[text.prompt] + text.ids
      let logits = withoutGradients {
        model.logits(DecoderInput(ids: Tensor(row, shape: [1, row.count])))
      }
      let size = logits.size(2)
      let logarithms = logits.logSoftmax().array(of: Double.self)
      for (index, value) in text.logProbabilities.enumerated() {
        let place = prompts[text.prompt].count + index - 1
        #expect(abs(value - logarithms[place * size + text.ids[index]]) < 1e-4)
      }
    }
  }

  @Test func limitsAndStreams() throws {
    let model = try model("llama")
    var generation = greedy(1000)
    // The model's limit of 64 counts for each row without its padding.
    let texts = try model.generate([Array(repeating: 5, count: 60), [9]], generation)
    #expect(texts.map { $0[0].ids.count } == [4, 63])
    #expect(texts.allSatisfy { $0[0].ending == .length })
    #expect(throws: ModelError.self) {
      try model.generate([Array(repeating: 5, count: 64)], generation)
    }
    // Tokens come in order, and the caller can stop.
    var heard: [Int] = []
    let stopped = try model.generate([[3, 4]], generation) { row, token in
      #expect(row == 0)
      heard.append(token)
      return heard.count < 3
    }
    #expect(stopped[0][0].ids == heard && heard.count == 3 && stopped[0][0].ending == .stopped)
    generation.configuration.maximumSeconds = 0
    #expect(try model.generate([[3, 4]], generation)[0][0].ids.count == 1)
    generation.configuration.beamCount = 2
    #expect(try model.generate([[3, 4]], generation)[0][0].ending == .stopped)
    var c = GenerationConfiguration()
    c.maximumLength = 5
    #expect(
      try model.generate([[3, 4], [9, 8, 7]], TextGeneration(c)).map { $0[0].ids.count } == [2, 2])
    #expect(
      try model.generate([[3, 4]], TextGeneration(GenerationConfiguration()))[0][0].ids.count == 20)
  }
}
