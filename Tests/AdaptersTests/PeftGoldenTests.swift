import Adapters
import Foundation
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Adapters that PEFT saved give its numbers (scripts/goldens/decoders.py).
@Suite struct PeftGoldenTests {
  static let fixtures = testDirectory() + "/Fixtures"
  static let names = ((try? FileManager.default.contentsOfDirectory(atPath: fixtures)) ?? [])
    .filter { !$0.contains(".") && !["methods", "parts"].contains($0) }.sorted()

  private func base(of name: String) throws -> DecoderForCausalLM {
    let config = try JSON.read(path: "\(Self.fixtures)/\(name)/adapter_config.json")
    let base = try #require(config["base_model_name_or_path"]?.stringValue)
    return try AutoModelForCausalLM.fromPretrained(
      testDirectory() + "/../ModelsTests/Fixtures/" + base)
  }

  @Test func thereAreSome() { #expect(Self.names.count >= 7) }

  @Test(arguments: names) func outputsAndGradients(_ name: String) throws {
    let directory = "\(Self.fixtures)/\(name)"
    let golden = try Goldens(directory + "/expected.safetensors")
    let peft = try PeftModel.fromPretrained(try base(of: name), directory, trainable: true)
    let batch = DecoderInput(ids: golden["input_ids"])
    expectClose(
      withoutGradients { peft.base.logits(batch) }, golden["logits"], absolute: 1e-5)
    let count = Double(DecoderForCausalLM.targetCount(of: golden["labels"]))
    let loss = peft.base.summedLoss(batch, labels: golden["labels"]) / count
    expectClose(loss, golden["loss"], absolute: 1e-5)
    loss.backward()
    let expected = golden.tensors(prefix: "grad.")
    #expect(Set(peft.trainableParameters.map(\.key)) == Set(expected.keys))
    for (key, parameter) in peft.trainableParameters {
      guard let wanted = expected[key] else { continue }
      expectClose(
        parameter.value.gradient ?? parameter.value.zerosLike(), wanted, absolute: 1e-6,
        relative: 1e-4)
    }
    let counts = golden["counts"].array(of: Int.self)
    #expect(peft.trainableParametersDescription().contains(grouped(counts[0]) + " ||"))
    #expect(peft.trainableParametersDescription().contains("all params: " + grouped(counts[1])))
    // Only the adapter's parameters get gradients.
    let own = Set(peft.trainableParameters.map(\.parameter))
    for (path, parameter) in peft.base.parameters() where !own.contains(parameter) {
      #expect(parameter.value.gradient == nil, "\(path)")
    }
  }

  @Test(arguments: names) func savedAgainItIsTheSameFile(_ name: String) throws {
    let directory = "\(Self.fixtures)/\(name)"
    let peft = try PeftModel.fromPretrained(try base(of: name), directory)
    try withTemporaryDirectory { copy in
      try peft.savePretrained(copy)
      try expectSameFiles(copy, directory)
    }
  }

  @Test(arguments: names) func mergeEqualsForward(_ name: String) throws {
    let directory = "\(Self.fixtures)/\(name)"
    let golden = try Goldens(directory + "/expected.safetensors")
    let peft = try PeftModel.fromPretrained(try base(of: name), directory)
    let merged = try peft.mergeAndUnload(safely: true)
    #expect(!merged.parameters().contains { $0.path.contains("lora_") })
    expectClose(
      merged.logits(DecoderInput(ids: golden["input_ids"])), golden["logits"], absolute: 1e-5)
  }

  private func grouped(_ number: Int) -> String {
    var text = ""
    for (index, digit) in String(number).reversed().enumerated() {
      if index > 0 && index % 3 == 0 { text = "," + text }
      text = String(digit) + text
    }
    return text
  }
}
