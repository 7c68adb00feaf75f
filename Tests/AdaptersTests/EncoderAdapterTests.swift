import Adapters
import Foundation
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Adapters that PEFT saved on models with heads of tasks give its numbers (scripts/goldens/encoders.py).
@Suite struct EncoderAdapterTests {
  static let fixtures = testDirectory() + "/EncoderFixtures"
  static let names = ((try? FileManager.default.contentsOfDirectory(atPath: fixtures)) ?? [])
    .filter { !$0.contains(".") }.sorted()
  static let models = testDirectory() + "/../ModelsTests/EncoderFixtures/"

  private func base(of name: String) throws -> TaskModel {
    let directory = "\(Self.fixtures)/\(name)"
    let config = try JSON.read(path: directory + "/adapter_config.json")
    let task = try JSON.read(path: directory + "/task.json")["task"]?.stringValue
    return try AutoModel.fromPretrained(
      Self.models + (try #require(config["base_model_name_or_path"]?.stringValue)),
      task: try #require(task.flatMap(ModelTask.init(rawValue:))))
  }

  @Test func thereAreSome() { #expect(Self.names.count >= 7) }

  @Test(arguments: names) func outputsAndGradients(_ name: String) throws {
    let directory = "\(Self.fixtures)/\(name)"
    let golden = try Goldens(directory + "/expected.safetensors").tensors(prefix: "")
    let peft = try PeftModel.fromPretrained(try base(of: name), directory, trainable: true)
    let input = TaskInput(
      ids: try #require(golden["input_ids"]), mask: golden["attention_mask"],
      tokenTypes: golden["token_type_ids"])
    expectClose(
      withoutGradients { peft.base(input) }, try #require(golden["outputs"]), absolute: 1e-5)
    let labels: TaskLabels
    if let classes = golden["labels"] {
      labels = .classes(classes)
    } else {
      let (start, end) = (golden["start_positions"], golden["end_positions"])
      labels = .answers(start: try #require(start), end: try #require(end))
    }
    let loss = peft.base.loss(input, labels: labels)
    expectClose(loss, try #require(golden["loss"]), absolute: 1e-5)
    loss.backward()
    let expected = golden.filter { $0.key.hasPrefix("grad.") }
    #expect(Set(peft.trainableParameters.map { "grad." + $0.key }) == Set(expected.keys))
    for (key, parameter) in peft.trainableParameters {
      guard let wanted = expected["grad." + key] else { continue }
      expectClose(
        parameter.value.gradient ?? parameter.value.zerosLike(), wanted, absolute: 1e-6,
        relative: 1e-4)
    }
  }

  @Test(arguments: names) func savedAgainItIsTheSameFile(_ name: String) throws {
    let directory = "\(Self.fixtures)/\(name)"
    let peft = try PeftModel.fromPretrained(try base(of: name), directory)
    try withTemporaryDirectory { copy in
      try peft.savePretrained(copy)
      let (old, new) = (
        try Goldens(directory + "/adapter_model.safetensors").tensors(prefix: ""),
        try Goldens(copy + "/adapter_model.safetensors").tensors(prefix: "")
      )
      #expect(Set(old.keys) == Set(new.keys))
      for (key, tensor) in old { #expect(new[key]?.isEqual(to: tensor) == true, "\(key)") }
      let (before, after) = (
        try JSON.read(path: directory + "/adapter_config.json"),
        try JSON.read(path: copy + "/adapter_config.json")
      )
      for key in ["task_type", "modules_to_save", "r", "lora_alpha"] {
        #expect(after[key] == before[key], "\(key)")
      }
    }
  }

  /// What is new in a model is trained and saved whole; PEFT's names of heads come first.
  @Test func aNewAdapterTrainsHeads() throws {
    let llama = try AutoModelForSequenceClassification.fromPretrained(
      testDirectory() + "/../ModelsTests/Fixtures/llama", labels: ModelLabels(count: 3))
    let rows = try PeftModel(llama, LoRAConfig(rank: 2, targetModules: .allLinear))
    let written = try #require(rows.configurations.first?.configuration)
    #expect(written.taskType == "SEQ_CLS")
    #expect(written.modulesToSave == ["classifier", "score"])
    #expect(
      rows.trainableParameters.map(\.key).filter { !$0.contains("lora_") }
        == ["base_model.model.score.weight"])

    // DistilBERT's pre_classifier ends with the name of a head: PEFT trains it whole too.
    let distil = try AutoModelForSequenceClassification.fromPretrained(Self.models + "distilbert")
    let all = try PeftModel(distil, LoRAConfig(rank: 2, targetModules: .allLinear))
    let whole = all.trainableParameters.map(\.key).filter { !$0.contains("lora_") }
    #expect(
      Set(whole)
        == Set(
          ["pre_classifier", "classifier"].flatMap { name in
            ["weight", "bias"].map { "base_model.model.\(name).\($0)" }
          }))
    #expect(!all.trainableParameters.contains { $0.key.contains("classifier.lora_") })
  }

  /// A layer that is trained whole gets no adapter too, and the file says so in names that PEFT reads.
  @Test func namesInFilesLeaveOutWhatIsTrainedWhole() throws {
    let model = try AutoModelForSequenceClassification.fromPretrained(Self.models + "bert")
    var config = LoRAConfig(rank: 2, targetModules: .names(["dense"]))
    config.modulesToSave = ["pooler"]
    let peft = try PeftModel(model, config)
    try withTemporaryDirectory { directory in
      try peft.savePretrained(directory)
      let json = try JSON.read(path: directory + "/adapter_config.json")
      let names = json["target_modules"]?.arrayValue?.compactMap(\.stringValue) ?? []
      #expect(Set(names) == ["output.dense", "intermediate.dense"])
      let whole = json["modules_to_save"]?.arrayValue?.compactMap(\.stringValue)
      #expect(whole == ["pooler", "classifier", "score"])
    }
  }
}
