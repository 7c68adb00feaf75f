import Foundation
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Dropout of models' own.
@Suite struct ModelDropoutTests {
  private static let encoders = testDirectory() + "/EncoderFixtures/"
  private static let decoders = testDirectory() + "/Fixtures/"
  private static let ids = Tensor([Int64(5), 9, 3, 12, 7, 21, 4, 6], shape: [2, 4])

  private func gradients(_ model: TaskModel, checkpoints: Bool) -> [Tensor] {
    model.checkpointsActivations = checkpoints
    let parameters = model.parameters().map(\.parameter)
    for parameter in parameters {
      parameter.value = parameter.value.detached().cloned()
      parameter.isTrainable = true
    }
    model.dropoutGenerator = Generator(seed: 11)
    model.ownDropout?.isOn = true
    defer { model.ownDropout?.isOn = false }
    let labels = Tensor([Int64(0), 1, 1, 0, 1, 0, 0, 1], shape: [2, 4])
    model.loss(TaskInput(ids: Self.ids), labels: .classes(labels)).backward()
    return parameters.compactMap(\.value.gradient)
  }

  @Test(arguments: ["bert", "roberta", "distilbert", "modernbert"])
  func itActsInTrainingOnlyAndIsDrawnAgainAlike(_ name: String) throws {
    try withTemporaryDirectory { directory in
      // ModernBERT's rates are zero by default.
      let files = FileManager.default
      try files.copyItem(
        atPath: "\(Self.encoders)\(name)/model.safetensors",
        toPath: directory + "/model.safetensors")
      var text = try String(contentsOfFile: "\(Self.encoders)\(name)/config.json", encoding: .utf8)
      if name == "modernbert" {
        for key in ["attention_dropout", "mlp_dropout", "embedding_dropout", "classifier_dropout"] {
          text.replace("\"\(key)\": 0.0", with: "\"\(key)\": 0.1")
        }
      }
      try text.write(toFile: directory + "/config.json", atomically: true, encoding: .utf8)
      let model = try AutoModelForTokenClassification.fromPretrained(directory, seed: 3)
      let input = TaskInput(ids: Self.ids)
      let before = withoutGradients { model(input) }
      func dropped(_ seed: UInt64) -> Tensor {
        model.dropoutGenerator = Generator(seed: seed)
        return withoutGradients { model(input) }
      }
      #expect(dropped(1).isEqual(to: before))
      model.ownDropout?.isOn = true
      #expect(!dropped(1).isEqual(to: before))
      #expect(dropped(1).isEqual(to: dropped(1)))
      #expect(!dropped(1).isEqual(to: dropped(2)))
      model.ownDropout?.isAllowed = false
      #expect(dropped(1).isEqual(to: before))
      model.ownDropout?.isAllowed = true
      model.ownDropout?.isOn = false
      #expect(dropped(1).isEqual(to: before))
      // Blocks that are computed again draw the same.
      let (kept, again) = (
        gradients(model, checkpoints: false), gradients(model, checkpoints: true)
      )
      #expect(kept.count == again.count && kept.count > 10)
      for (one, other) in zip(kept, again) { expectClose(one, other, absolute: 1e-7) }
    }
  }

  @Test func modelsWithoutRatesStayTheSame() throws {
    let llama = try AutoModelForCausalLM.fromPretrained(Self.decoders + "llama")
    let gpt2 = try AutoModelForCausalLM.fromPretrained(Self.decoders + "gpt2")
    for (model, isSame) in [(llama, true), (gpt2, false)] {
      let batch = DecoderInput(ids: Self.ids)
      let before = withoutGradients { model.logits(batch) }
      model.dropoutGenerator = Generator(seed: 1)
      let state = model.dropoutGenerator?.state
      model.ownDropout?.isOn = true
      let after = withoutGradients { model.logits(batch) }
      #expect(after.isEqual(to: before) == isSame)
      // A model that drops nothing draws nothing.
      let drawn = model.dropoutGenerator?.state
      #expect((state.map { drawn?.isEqual(to: $0) == true } ?? false) == isSame)
    }
  }

  /// The mean over many draws is what nothing dropped gives, for a map that is linear.
  @Test func whatStaysIsScaledUp() {
    let dropout = ModelDropout()
    dropout.isOn = true
    dropout.generator = Generator(seed: 5)
    let x = Tensor.ones([20000])
    let y = dropout(x, 0.25)
    #expect(abs(y.mean().item() - 1) < 0.02)
    #expect(Set(y.array(of: Float.self)) == [0, Float(1 / 0.75)])
  }

  @Test func aRateThatCannotBeIsNamed() throws {
    try withTemporaryDirectory { directory in
      try FileManager.default.copyItem(
        atPath: Self.encoders + "bert/model.safetensors", toPath: directory + "/model.safetensors")
      let text = try String(contentsOfFile: Self.encoders + "bert/config.json", encoding: .utf8)
      try text.replacing("\"hidden_dropout_prob\": 0.1", with: "\"hidden_dropout_prob\": 1.5")
        .write(toFile: directory + "/config.json", atomically: true, encoding: .utf8)
      expectRefusal("hidden_dropout_prob", "1.5") {
        try AutoModelForMaskedLM.fromPretrained(directory)
      }
    }
  }
}
