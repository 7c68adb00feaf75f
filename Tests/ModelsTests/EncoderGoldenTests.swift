import Foundation
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Tiny encoders of every family give transformers' numbers (scripts/goldens/encoders.py).
@Suite struct EncoderGoldenTests {
  static let fixtures = testDirectory() + "/EncoderFixtures"
  static let names = ((try? FileManager.default.contentsOfDirectory(atPath: fixtures)) ?? [])
    .filter { !$0.contains(".") }.sorted()
  static let tasks: [ModelTask] = [
    .maskedLM, .sequenceClassification, .tokenClassification, .questionAnswering,
    .featureExtraction,
  ]

  @Test func everyFamilyHasOne() {
    #expect(Self.names == AutoModelForMaskedLM.modelTypes)
  }

  @Test(arguments: names, tasks) func outputsAndLoss(_ name: String, _ task: ModelTask) throws {
    let model = try AutoModel.fromPretrained("\(Self.fixtures)/\(name)", task: task)
    try expectTaskGolden(
      model, Goldens("\(Self.fixtures)/\(name)/expected.safetensors").tensors(prefix: ""))
  }

  @Test(arguments: ["bert", "roberta"]) func poolerAndMean(_ name: String) throws {
    let model = try AutoModel.fromPretrained("\(Self.fixtures)/\(name)")
    let golden = try Goldens("\(Self.fixtures)/\(name)/expected.safetensors").tensors(prefix: "")
    let input = TaskInput(
      ids: try #require(golden["left.input_ids"]), mask: golden["left.attention_mask"],
      tokenTypes: golden["left.token_type_ids"])
    expectClose(
      try #require(model.poolerOutput(input)), try #require(golden["left.pooler"]), absolute: 1e-5)
    // The first row has three positions of padding in front.
    let states = model.states(input)
    let mean = states.selected(0, 0).narrowed(0, 3..<9).mean([0])
    expectClose(model.embeddings(input, pooling: .mean).selected(0, 0), mean, absolute: 1e-6)
    expectClose(
      model.embeddings(input, pooling: .first), states.selected(1, 0), absolute: 0, relative: 0)
  }

  /// Shapes can be computed where there is no memory, so that nothing reads numbers on the way.
  @Test(arguments: names) func metaDevice(_ name: String) throws {
    let model = try AutoModelForSequenceClassification.fromPretrained(
      "\(Self.fixtures)/\(name)", labels: ModelLabels(count: 2), device: .meta)
    let ids = Tensor.zeros([3, 7], dtype: .int64, device: .meta)
    let scores = model(TaskInput(ids: ids))
    #expect(scores.shape == [3, 2])
    #expect(scores.device == .meta)
  }

  /// Computing blocks again in the backward pass changes no gradient.
  @Test(arguments: ["bert", "modernbert"]) func checkpointing(_ name: String) throws {
    let model = try AutoModelForSequenceClassification.fromPretrained("\(Self.fixtures)/\(name)")
    let parameters = model.parameters().map(\.parameter)
    for parameter in parameters {
      parameter.value = parameter.value.detached().cloned()
      parameter.isTrainable = true
    }
    let ids = Tensor([Int64](3..<17), shape: [2, 7])
    func gradients() -> [Tensor] {
      let loss = model.loss(TaskInput(ids: ids), labels: .classes(Tensor([Int64(0), 1])))
      return loss.gradients(of: parameters.map(\.value)).map { $0 ?? Tensor.zeros([1]) }
    }
    let plain = gradients()
    model.checkpointsActivations = true
    for (again, before) in zip(gradients(), plain) { expectClose(again, before, absolute: 1e-6) }
  }
}
