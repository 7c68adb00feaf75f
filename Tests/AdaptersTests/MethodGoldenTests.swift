import Adapters
import Foundation
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Adapters of every method that PEFT saved give its numbers (scripts/goldens/methods.py).
@Suite struct MethodGoldenTests {
  static let fixtures = testDirectory() + "/Fixtures/methods"
  static let names = ((try? FileManager.default.contentsOfDirectory(atPath: fixtures)) ?? [])
    .filter { !$0.contains(".") && $0 != "base" }.sorted()

  private func base() throws -> DecoderForCausalLM {
    try AutoModelForCausalLM.fromPretrained(Self.fixtures + "/base")
  }

  @Test func everyMethodHasOne() throws {
    let types = try Self.names.map { name in
      try JSON.read(path: "\(Self.fixtures)/\(name)/adapter_config.json")["peft_type"]?.stringValue
    }
    #expect(Set(types.compactMap { $0 }) == Set(AdapterMethods.types))
  }

  @Test(arguments: names) func outputsAndGradients(_ name: String) throws {
    let directory = "\(Self.fixtures)/\(name)"
    let golden = try Goldens(directory + "/expected.safetensors")
    let expected = golden.tensors(prefix: "grad.")
    let peft = try PeftModel.fromPretrained(
      try base(), directory, trainable: !expected.isEmpty)
    peft.context.taskIDs = golden.tensors(prefix: "task_ids").values.first
    let batch = DecoderInput(ids: golden["input_ids"])
    expectClose(withoutGradients { peft.base.logits(batch) }, golden["logits"], absolute: 1e-4)
    let count = Double(DecoderForCausalLM.targetCount(of: golden["labels"]))
    let loss = peft.base.summedLoss(batch, labels: golden["labels"]) / count
    expectClose(loss, golden["loss"], absolute: 1e-4)
    guard !expected.isEmpty else { return }
    loss.backward()
    #expect(Set(peft.trainableParameters.map(\.key)) == Set(expected.keys))
    for (key, parameter) in peft.trainableParameters {
      guard let wanted = expected[key] else { continue }
      expectClose(
        parameter.value.gradient ?? parameter.value.zerosLike(), wanted, absolute: 1e-5,
        relative: 1e-3)
    }
  }

  /// Keys of every adapted layer's tensor of a name, in the fixtures that have one.
  private func inLayers(_ name: String) -> Set<String> {
    Set(
      (0..<3).flatMap { layer in
        ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"].map {
          "base_model.model.model.layers.\(layer).\($0).\(name)"
        }
      })
  }

  /// Keys that PEFT alone writes: layers' copies of what the model has once.
  private func leftOut(_ method: String) -> Set<String> {
    method == "randlora" ? inLayers("randlora_A").union(inLayers("randlora_B")) : []
  }

  /// Keys that we alone write: what PEFT finds again from the weight.
  private func added(_ method: String) -> Set<String> {
    method == "adamss" ? inLayers("adamss_scatter_index") : []
  }

  /// But for those two.
  @Test(arguments: names) func savedAgainItIsTheSameFile(_ name: String) throws {
    let directory = "\(Self.fixtures)/\(name)"
    let peft = try PeftModel.fromPretrained(try base(), directory)
    try withTemporaryDirectory { copy in
      try peft.savePretrained(copy)
      let (old, new) = (
        try Goldens(directory + "/adapter_model.safetensors").tensors(prefix: ""),
        try Goldens(copy + "/adapter_model.safetensors").tensors(prefix: "")
      )
      let (before, after) = (Set(old.keys), Set(new.keys))
      #expect(before.subtracting(after) == leftOut(name))
      #expect(after.subtracting(before) == added(name))
      for (key, tensor) in new where before.contains(key) {
        // What an encoder beside the file makes is computed again.
        if key == "prompt_embeddings" {
          expectClose(tensor, try #require(old[key]), absolute: 1e-6)
        } else {
          #expect(old[key]?.isEqual(to: tensor) == true, "\(key)")
        }
      }
      let (fields, again) = (
        try JSON.read(path: directory + "/adapter_config.json"),
        try JSON.read(path: copy + "/adapter_config.json")
      )
      #expect(Set(fields.objectValue?.keys ?? []) == Set(again.objectValue?.keys ?? []))
    }
  }
}
