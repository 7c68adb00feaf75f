import Adapters
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Adapters that share a layer or a model with something else.
@Suite struct SharedPlacesTests {
  private let row = sixTokens

  private func random(_ names: [String], rank: Int = 4) -> LoRAConfig {
    var config = LoRAConfig(rank: rank, targetModules: .names(names))
    config.initialization = .random
    return config
  }

  private func batch(_ model: DecoderForCausalLM) -> CalibrationBatch {
    CalibrationBatch {
      model.summedLoss(self.row, labels: self.row.ids) / 5
    }
  }

  /// Layers were adapted before the tokens turned out not to exist.
  @Test func aRefusedAdapterLeavesNothing() throws {
    try withModel { _, model in
      let before = logits(model)
      var config = random(["q_proj"])
      config.trainableTokens = .inputEmbeddings([9999])
      #expect(throws: AdapterError.self) { _ = try PeftModel(model, config) }
      #expect(model.modules().allSatisfy { !"\(type(of: $0.module))".contains("Adapted") })
      // The next one acts, and one of the same name does not stand on the refused one.
      let peft = try PeftModel(model, random(["q_proj"]))
      #expect(!logits(model).isEqual(to: before))
      #expect(throws: AdapterError.self) { try peft.addAdapter("other", config) }
      try peft.addAdapter("other", random(["q_proj"]))
      let keys = peft.adapterParameters("other").map(\.key)
      #expect(keys.count == 4 && !keys.contains { $0.contains("token") })
    }
  }

  /// Another adapter of the same module does not take it away in a merge.
  @Test func mergingKeepsModulesThatWereTrainedWhole() throws {
    try withModel { _, model in
      var config = random(["q_proj"])
      config.modulesToSave = ["norm"]
      let peft = try PeftModel(model, config)
      withoutGradients {
        for (key, parameter) in peft.trainableParameters where key.contains("norm") {
          _ = parameter.value.fillInPlace(1.5)
        }
      }
      let trained = logits(model)
      try peft.addAdapter("other", config)
      try peft.mergeAndUnload()
      expectClose(logits(model), trained, absolute: 1e-4)
    }
  }

  @Test func rowsAreRefusedBesideModulesOfAllRows() throws {
    try withModel { _, model in
      var whole = random(["v_proj"])
      whole.modulesToSave = ["norm"]
      let peft = try PeftModel(model, random(["q_proj"]))
      try peft.addAdapter("whole", whole)
      try peft.setAdapter(["whole"])
      expectRefusal("whole acts on all rows") {
        try peft.withAdapters(perRow: ["default"]) {}
      }
    }
  }

  /// The tied head has trained rows and no low-rank update.
  @Test func startsFromDataBesideTokens() throws {
    for start in [LoRAConfig.Initialization.eva, .corda, .loraGA] {
      try withModel { _, model in
        var config = LoRAConfig(rank: 2, targetModules: .names(["q_proj"]))
        config.initialization = start
        config.trainableTokens = .inputEmbeddings([3, 200])
        let before = logits(model)
        let peft = try PeftModel(model, config)
        try peft.calibrate([batch(model)])
        expectClose(logits(model), before, absolute: 1e-4)
        let keys = peft.trainableParameters.map(\.key)
        #expect(keys.contains { $0.hasSuffix("trainable_tokens_delta") }, "\(start)")
        #expect(keys.count == 5, "\(start): \(keys)")
      }
    }
  }

  /// A layer with both: the update's start is found, kept apart and written as a plain LoRA.
  @Test func startsOfLayersWithTokens() throws {
    try withModel { directory, model in
      var config = LoRAConfig(rank: 2, targetModules: .names(["q_proj", "lm_head"]))
      config.initialization = .loraGA
      config.trainableTokens = .inputEmbeddings([3, 200])
      let peft = try PeftModel(model, config)
      try peft.calibrate([batch(model)])
      let started = peft.adapterParameters().first { $0.key.hasSuffix("lm_head.lora_B.weight") }
      #expect(try #require(started).parameter.value.norm().item() > 0)
      let expected = logits(model)
      try peft.savePretrained(directory + "/adapter", asPlainLoRA: true)
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      _ = try PeftModel.fromPretrained(other, directory + "/adapter")
      expectClose(logits(other), expected, absolute: 1e-4)
    }
  }

  /// EVA moves ranks between layers: their biases stay trained and stored, VeLoRA stays what it is.
  @Test func movedRanksKeepWhatElseIsTrained() throws {
    try withModel { directory, model in
      var config = LoRAConfig(rank: 2, targetModules: .names(["q_proj", "v_proj"]))
      config.initialization = .eva
      config.veLoRA = VeLoRAConfig()
      let peft = try PeftModel(model, config)
      try peft.calibrate([batch(model)])
      let keys = peft.adapterParameters().map(\.key)
      let layers = keys.count { $0.hasSuffix("lora_A.weight") }
      #expect(keys.count { $0.hasSuffix("lora_velora_embed") } == layers)
      try peft.savePretrained(directory + "/adapter")
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      let opened = try PeftModel.fromPretrained(other, directory + "/adapter")
      #expect(Set(opened.adapterParameters().map(\.key)) == Set(keys))
    }
  }

  /// LibTorch decomposes nothing of half precision.
  @Test(arguments: [
    LoRAConfig.Initialization.pissa, .pissaFast(iterations: 2), .olora, .milora, .mica, .orthogonal,
  ]) func startsOfHalfPrecision(_ start: LoRAConfig.Initialization) throws {
    try withModel { _, model in
      let before = logits(model)
      let peft = try PeftModel(model, random(["v_proj"]))
      var config = LoRAConfig(rank: 4, targetModules: .names(["q_proj"]))
      config.initialization = start
      try peft.addAdapter("half", config, dtype: .bfloat16)
      try peft.setAdapter(["half"])
      #expect(peft.adapterParameters("half").allSatisfy { $0.parameter.value.dtype == .bfloat16 })
      expectClose(logits(model), before, absolute: 0.05)
    }
  }
}
