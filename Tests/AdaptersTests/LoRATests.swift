import Adapters
import Layers
import Models
import Tensors
import TestSupport
import Testing

@Suite struct LoRATests {
  private let batch = sixTokens

  private func moved(_ config: LoRAConfig) -> LoRAConfig {
    var config = config
    config.initialization = .random
    return config
  }

  @Test func identityAtInitialisation() throws {
    for initialization in [LoRAConfig.Initialization.standard, .gaussian] {
      try withModel { _, model in
        let plain = model.logits(batch)
        var config = LoRAConfig(targetModules: .allLinear)
        config.initialization = initialization
        _ = try PeftModel(model, config)
        #expect(model.logits(batch).isEqual(to: plain))
      }
    }
  }

  @Test func disabledAndUnloadedModelsAreTheBase() throws {
    try withModel { _, model in
      let plain = model.logits(batch)
      var config = moved(LoRAConfig(targetModules: .names(["q_proj"])))
      config.modulesToSave = ["down_proj"]
      let peft = try PeftModel(model, config)
      for (_, parameter) in peft.trainableParameters {
        withoutGradients { _ = parameter.value.addInPlace(0.1) }
      }
      let adapted = model.logits(batch)
      #expect((adapted - plain).absolute().max().item() > 1e-2)
      #expect(peft.withAdaptersDisabled { model.logits(batch) }.isEqual(to: plain))
      #expect(model.logits(batch).isEqual(to: adapted))
      struct Stop: Error {}
      #expect(throws: Stop.self) { try peft.withAdaptersDisabled { throw Stop() } }
      #expect(model.logits(batch).isEqual(to: adapted))
      #expect(try peft.unload().logits(batch).isEqual(to: plain))
    }
  }

  @Test func dropoutActsInTrainingOnly() throws {
    try withModel { _, model in
      let peft = try PeftModel(
        model, moved(LoRAConfig(dropout: 0.5, targetModules: .allLinear)))
      let still = model.logits(batch)
      #expect(model.logits(batch).isEqual(to: still))
      peft.context.isTraining = true
      let (one, other) = (model.logits(batch), model.logits(batch))
      #expect(!one.isEqual(to: still) && !one.isEqual(to: other))
      peft.context.isTraining = false
      #expect(model.logits(batch).isEqual(to: still))
    }
  }

  @Test func severalAdaptersSwitchAndAdd() throws {
    try withModel { _, model in
      let plain = model.logits(batch)
      let peft = try PeftModel(model, moved(LoRAConfig(rank: 4, targetModules: .allLinear)))
      let first = model.logits(batch)
      try peft.addAdapter(
        "other", moved(LoRAConfig(rank: 2, targetModules: .names(["v_proj"]))), seed: 5)
      #expect(model.logits(batch).isEqual(to: first))
      try peft.setAdapter(["other"])
      let second = model.logits(batch)
      #expect(!second.isEqual(to: first) && !second.isEqual(to: plain))
      try peft.setAdapter(["default"])
      #expect(model.logits(batch).isEqual(to: first))
      #expect(throws: AdapterError.self) { try peft.setAdapter(["absent"]) }
      #expect(throws: AdapterError.self) { try peft.addAdapter("other", LoRAConfig()) }
      try peft.setAdapter(["default", "other"])
      let both = model.logits(batch)
      expectClose(try peft.mergeAndUnload().logits(batch), both, absolute: 1e-5)
    }
  }

  @Test func safeMergeRefusesWhatIsNotFinite() throws {
    try withModel { _, model in
      let plain = model.logits(batch)
      let peft = try PeftModel(model, LoRAConfig(targetModules: .allLinear))
      let last = try #require(peft.trainableParameters.last).parameter
      withoutGradients { _ = last.value.fillInPlace(.infinity) }
      #expect(throws: AdapterError.self) { try peft.mergeAndUnload(safely: true) }
      #expect(try peft.unload().logits(batch).isEqual(to: plain))
    }
  }

  @Test func scales() {
    var config = LoRAConfig(rank: 16, alpha: 8)
    #expect(config.scale(rank: 16, alpha: 8) == 0.5)
    config.usesRankStabilization = true
    #expect(config.scale(rank: 16, alpha: 8) == 2)
  }

  @Test func targets() throws {
    func layers(_ change: (inout LoRAConfig) -> Void) throws -> [String] {
      var config = LoRAConfig()
      change(&config)
      var found: [String] = []
      try withModel { _, model in
        let peft = try PeftModel(model, config)
        found = peft.adapterParameters().map(\.key).filter { $0.hasSuffix("lora_A.weight") }
          .map {
            String(
              $0.dropFirst("base_model.model.model.layers.".count).dropLast(".lora_A.weight".count))
          }
      }
      return found
    }
    #expect(
      try layers { _ in } == [
        "0.self_attn.q_proj", "0.self_attn.v_proj", "1.self_attn.q_proj", "1.self_attn.v_proj",
      ])
    #expect(try layers { $0.targetModules = .allLinear }.count == 14)
    #expect(
      try layers { $0.targetModules = .pattern("model\\.layers\\.1\\..*(up|down)_proj") }
        == ["1.mlp.up_proj", "1.mlp.down_proj"])
    #expect(
      try layers {
        $0.targetModules = .allLinear
        $0.excludeModules = .names(["mlp.up_proj", "q_proj"])
        $0.layersToTransform = [0]
      } == [
        "0.self_attn.k_proj", "0.self_attn.v_proj", "0.self_attn.o_proj", "0.mlp.gate_proj",
        "0.mlp.down_proj",
      ])
    #expect(throws: AdapterError.self) { try layers { $0.targetModules = .names(["absent"]) } }
    #expect(throws: AdapterError.self) { try layers { $0.layersToTransform = [7] } }
    #expect(throws: AdapterError.self) { try layers { $0.rank = 0 } }
    #expect(throws: AdapterError.self) { try layers { $0.targetModules = .pattern("(") } }
  }

  @Test func spelledTargets() {
    #expect(TargetModules("All-Linear") == .allLinear)
    #expect(TargetModules("q_proj, v_proj") == .names(["q_proj", "v_proj"]))
    #expect(TargetModules(".*q_proj") == .pattern(".*q_proj"))
  }
}
