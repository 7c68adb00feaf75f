import Adapters
import JSONValues
import Models
import TestSupport
import Testing

/// Adapters by the spellings of PEFT's first example.
@Suite struct PeftModelMakingTests {
  private func withT5(
    _ body: (EncoderDecoderForConditionalGeneration) throws -> Void
  ) throws {
    try withTemporaryDirectory { directory in
      try TinySeq2Seq().write(to: directory)
      try body(AutoModelForSeq2SeqLM.fromPretrained(directory))
    }
  }

  @Test func theTypeOfTheTaskIsWritten() throws {
    let config = LoRAConfig(
      taskType: .seq2seqLM, inferenceMode: false, rank: 8, alpha: 32, dropout: 0.1)
    #expect(config.json["task_type"]?.stringValue == "SEQ_2_SEQ_LM")
    #expect(config.json["lora_alpha"]?.intValue == 32)
    #expect(config.json["inference_mode"] == true)
    #expect(LoRAConfig(rank: 4).taskType == "CAUSAL_LM")
    try withT5 { model in
      // A T5 has q and v by default, and says its task where the configuration says another one.
      let peft = try getPeftModel(model, LoRAConfig(taskType: .causalLM, rank: 2))
      #expect(peft.configurations.first?.configuration.taskType == "SEQ_2_SEQ_LM")
      let names = Set(
        peft.adapterParameters().map { $0.key.split(separator: ".").dropLast(2).last })
      #expect(names == ["q", "v"])
      #expect(peft.trainableParameters.count == 24)
    }
  }

  @Test func anAdapterForInferenceIsNotTrained() throws {
    try withT5 { model in
      let config = LoRAConfig(inferenceMode: true, rank: 2, targetModules: .allLinear)
      let peft = try getPeftModel(model, config, adapterName: "fixed", seed: 3)
      #expect(peft.trainableParameters.isEmpty)
      #expect(peft.context.active == ["fixed"])
      try peft.setAdapter(["fixed"], trainable: true)
      #expect(!peft.trainableParameters.isEmpty)
    }
  }

  @Test func aWrappedModelWrites() throws {
    try withT5 { model in
      let sources = [[97, 98, 257], [99, 257]]
      let plain = try model.generate(prompts: sources, maximumNewTokens: 6)
      var config = LoRAConfig(rank: 4, alpha: 64, targetModules: .allLinear)
      config.initialization = .random
      let peft = try getPeftModel(model, config, seed: 5)
      let adapted = try peft.generate(prompts: sources, maximumNewTokens: 6)
      #expect(adapted != plain)
      #expect(adapted == (try model.generate(prompts: sources, maximumNewTokens: 6)))
      let switchedOff = try peft.withAdaptersDisabled {
        try peft.generate(prompts: sources, maximumNewTokens: 6)
      }
      #expect(switchedOff == plain)
    }
  }
}
