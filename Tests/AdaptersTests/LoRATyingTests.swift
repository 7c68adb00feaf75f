import Adapters
import Checkpoints
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Embeddings and output head that are one table, under `ensure_weight_tying`.
@Suite struct LoRATyingTests {
  private func config(
    _ targets: TargetModules, save: [String] = [], _ change: (inout LoRAConfig) -> Void = { _ in }
  ) -> LoRAConfig {
    var config = LoRAConfig(rank: 4, alpha: 6, targetModules: targets)
    config.modulesToSave = save
    config.ensuresWeightTying = true
    change(&config)
    return config
  }

  private func head(_ model: DecoderForCausalLM) -> Tensor {
    // The table with its update.
    let hidden = Tensor.identity(model.configuration.hiddenSize)
    return withoutGradients { model.head(hidden).transposed().contiguous() }
  }

  private func table(_ model: DecoderForCausalLM) -> Tensor {
    let ids = Tensor.arange(0, model.configuration.vocabularySize).to(.int64)
    return withoutGradients { model.model.embedding(ids) }
  }

  @Test(arguments: [
    TargetModules.names(["embed_tokens", "q_proj"]), .names(["lm_head", "q_proj"]),
    .pattern("lm_head|.*q_proj"), .pattern("model.embed_tokens|.*q_proj"),
  ])
  func bothHaveOneUpdate(_ targets: TargetModules) throws {
    try withModel { directory, model in
      let plain = table(model).cloned()
      let peft = try PeftModel(model, config(targets))
      #expect(peft.trainableParameters.count == 2 + 2 * 2)
      disturb(peft)
      #expect((table(model) - plain).absolute().max().item() > 1e-2)
      expectClose(head(model), table(model), absolute: 1e-5)
      // The file names the embeddings and holds both.
      let adapter = directory + "/adapter"
      try peft.savePretrained(adapter)
      let file = try SafetensorsFile(path: adapter + "/adapter_model.safetensors")
      let tensors = Dictionary(
        uniqueKeysWithValues: try file.tensors().map { ($0.name, $0.tensor) })
      let a = try #require(tensors["base_model.model.model.embed_tokens.lora_embedding_A"])
      let b = try #require(tensors["base_model.model.lm_head.lora_B.weight"])
      #expect(a.isEqual(to: b.transposed()) && b.shape == [260, 4])
      let saved = try #require(peft.configurations[0].configuration as? LoRAConfig)
      switch try #require(saved.targetModules) {
      case .names(let names):
        #expect(names.contains { $0.hasSuffix("embed_tokens") } && !names.contains("lm_head"))
      case .pattern(let pattern): #expect(pattern.contains("embed_tokens"))
      case .allLinear: Issue.record("all-linear")
      }
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      _ = try PeftModel.fromPretrained(other, adapter)
      #expect(table(other).isEqual(to: table(model)) && head(other).isEqual(to: head(model)))
      // Merged they are one table again.
      let before = table(model).cloned()
      try peft.mergeAndUnload()
      expectClose(table(model), before, absolute: 1e-5)
      expectClose(head(model), before, absolute: 1e-5)
    }
  }

  @Test func gradientsComeFromBoth() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, config(.names(["embed_tokens"])))
      disturb(peft)
      let batch = DecoderInput(ids: Tensor([5, 9, 70, 33], shape: [1, 4]))
      model.summedLoss(batch, labels: batch.ids).backward()
      let a = try #require(peft.adapterParameters().first { $0.key.hasSuffix("embedding_A") })
      let gradient = try #require(a.parameter.value.gradient)
      // Tokens that are not in the batch are seen by the head alone.
      #expect(gradient.selecting(1, Tensor([200])).absolute().max().item() > 0)
    }
  }

  @Test(arguments: [["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head"]])
  func oneCopyIsTrained(_ names: [String]) throws {
    try withModel { directory, model in
      let peft = try PeftModel(model, config(.names(["q_proj"]), save: names))
      #expect(peft.trainableParameters.count == 1 + 2 * 2)
      disturb(peft)
      #expect(head(model).isEqual(to: table(model)))
      #expect(peft.configurations[0].configuration.modulesToSave.contains { $0.contains("embed") })
      let adapter = directory + "/adapter"
      try peft.savePretrained(adapter)
      let keys = try SafetensorsFile(path: adapter + "/adapter_model.safetensors").entries.map(
        \.name)
      for path in ["model.embed_tokens", "lm_head"] {
        #expect(keys.contains("base_model.model.\(path).weight"))
      }
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      _ = try PeftModel.fromPretrained(other, adapter)
      #expect(head(other).isEqual(to: head(model)) && table(other).isEqual(to: table(model)))
    }
  }

  @Test func whereNothingIsTiedNothingIsDone() throws {
    try withModel(TinyModel { $0.tiesEmbeddings = false }) { _, model in
      let peft = try PeftModel(model, config(.names(["embed_tokens", "lm_head"])))
      #expect(peft.trainableParameters.count == 4)
      disturb(peft)
      #expect((head(model) - table(model)).absolute().max().item() > 1e-2)
    }
    try withModel { _, model in
      let peft = try PeftModel(model, config(.allLinear))
      #expect(!peft.adapterParameters().contains { $0.key.contains("lm_head") })
    }
  }

  @Test func whatWouldPartThemIsRefused() throws {
    try withModel { directory, model in
      let changes: [(String, (inout LoRAConfig) -> Void)] = [
        ("use_dora", { $0.usesDoRA = true }), ("init_lora_weights", { $0.initialization = .pissa }),
      ]
      for (field, change) in changes {
        expectRefusal(field, "ensure_weight_tying") {
          try PeftModel(model, config(.names(["embed_tokens"]), change))
        }
      }
      // A file whose two updates are not one.
      let peft = try PeftModel(model, config(.names(["embed_tokens"])))
      disturb(peft)
      var tensors = Dictionary(
        try peft.stateDictionary().map { ($0.key, $0.tensor) }, uniquingKeysWith: { $1 })
      let key = "base_model.model.lm_head.lora_A.weight"
      tensors[key] = try #require(tensors[key]) * 2
      expectRefusal("ensure_weight_tying") {
        try peft.loadStateDictionary(tensors)
      }
    }
  }
}
