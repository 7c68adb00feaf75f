import Adapters
import Models
import Tensors
import TestSupport
import Testing

/// Several texts at once from one prompt, with adapters that tell rows apart.
@Suite struct BeamsWithAdaptersTests {
  private func random(_ rank: Int) -> LoRAConfig {
    var config = LoRAConfig(rank: rank, alpha: 30, targetModules: .allLinear)
    config.initialization = .random
    return config
  }

  private func beams(_ model: DecoderForCausalLM, _ prompts: [[Int]]) throws -> [[[Int]]] {
    var c = GenerationConfiguration()
    (c.maximumNewTokens, c.beamCount, c.returnCount) = (7, 3, 3)
    return try model.generate(prompts, TextGeneration(c)).map { $0.map(\.ids) }
  }

  @Test func rowsWithAdaptersOfTheirOwn() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, random(3), adapterName: "a", seed: 1)
      try peft.addAdapter("b", random(2), seed: 2)
      let prompts = [[5, 9, 30], [7, 7], [100]]
      let chosen: [String?] = ["b", "a", nil]
      let together = try peft.withAdapters(perRow: chosen) { try beams(model, prompts) }
      #expect(Set(together.joined()).count == 9)
      for (index, name) in chosen.enumerated() {
        try peft.setAdapter([name].compactMap { $0 })
        #expect(try beams(model, [prompts[index]]) == [together[index]])
      }
    }
  }

  /// Some prompts call the adapter and some do not; each of their beams is as its prompt says.
  @Test func invokedRows() throws {
    try withModel { _, model in
      var config = random(4)
      config.invocationTokens = [200, 41]
      let peft = try PeftModel(model, config)
      let prompts = [[5, 9, 30], [7, 200, 41, 8], [100, 200, 41]]
      let together = try beams(model, prompts)
      for (index, prompt) in prompts.enumerated() {
        #expect(try beams(model, [prompt]) == [together[index]])
      }
      let alone = try peft.withAdaptersDisabled { try beams(model, prompts) }
      #expect(together[0] == alone[0])
      #expect(together[1] != alone[1] && together[2] != alone[2])
      // Keys and values of one text say nothing of another's invocation.
      #expect(!model.canReusePrefixes)
      #expect(try model.sharedPrefix(of: [[1, 2, 3], [1, 2, 4]]).ids == [])
    }
  }
}
