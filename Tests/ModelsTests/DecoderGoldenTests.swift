import Foundation
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Tiny checkpoints of every family give transformers' numbers (scripts/goldens/decoders.py).
@Suite struct DecoderGoldenTests {
  static let fixtures = testDirectory() + "/Fixtures"
  static let names = ((try? FileManager.default.contentsOfDirectory(atPath: fixtures)) ?? [])
    .filter { !$0.contains(".") }.sorted()

  @Test func everyFamilyHasOne() throws {
    let types = try Self.names.map {
      try AutoModelForCausalLM.configuration(of: "\(Self.fixtures)/\($0)").modelType
    }
    #expect(Set(types) == Set(AutoModelForCausalLM.modelTypes))
  }

  @Test(arguments: names) func logitsAndLoss(_ name: String) throws {
    let model = try AutoModelForCausalLM.fromPretrained("\(Self.fixtures)/\(name)")
    let golden = try Goldens("\(Self.fixtures)/\(name)/expected.safetensors")
    let (ids, labels) = (golden["input_ids"], golden["labels"])
    let logits = model.logits(DecoderInput(ids: ids))
    expectClose(logits, golden["logits"], absolute: 1e-5)
    let count = Double(DecoderForCausalLM.targetCount(of: labels))
    let loss = model.summedLoss(DecoderInput(ids: ids), labels: labels) / count
    expectClose(loss, golden["loss"], absolute: 1e-5)

    // Behind padding on the left; what stands at the padding itself is nobody's business.
    let mask = golden["left.attention_mask"]
    let padded = model.logits(DecoderInput(ids: golden["left.input_ids"], mask: mask))
    let seen = mask.unsqueezed(2).to(.float32)
    expectClose(padded * seen, golden["left.logits"] * seen, absolute: 1e-5)
  }

  /// Token by token with a cache, and in a batch of prompts of different lengths.
  @Test(arguments: names) func cacheAndBatch(_ name: String) throws {
    let model = try AutoModelForCausalLM.fromPretrained("\(Self.fixtures)/\(name)")
    let ids = try Goldens("\(Self.fixtures)/\(name)/expected.safetensors")["input_ids"]
    let whole = model.logits(DecoderInput(ids: ids))
    let cache = KeyValueCache(layerCount: model.configuration.layerCount, capacity: 9)
    for (start, end) in [(0, 4), (4, 5), (5, 9)] {
      let part = model.logits(DecoderInput(ids: ids.narrowed(1, start..<end)), cache: cache)
      expectClose(part, whole.narrowed(1, start..<end), absolute: 1e-5)
    }
    let prompts = [[3, 9, 4, 11, 7], [5, 6], [8]]
    let together = try model.generate(prompts: prompts, maximumNewTokens: 6, endOfTextIDs: [])
    for (prompt, answer) in zip(prompts, together) {
      let alone = try model.generate(prompts: [prompt], maximumNewTokens: 6, endOfTextIDs: [])
      #expect(alone == [answer], "\(prompt)")
    }
  }

  /// Shapes can be computed where there is no memory, so that nothing reads numbers on the way.
  @Test(arguments: names) func metaDevice(_ name: String) throws {
    let model = try AutoModelForCausalLM.fromPretrained(
      "\(Self.fixtures)/\(name)", device: .meta)
    let ids = Tensor.zeros([2, 7], dtype: .int64, device: .meta)
    let logits = model.logits(DecoderInput(ids: ids))
    #expect(logits.shape == [2, 7, 48])
    #expect(logits.device == .meta)
  }
}
