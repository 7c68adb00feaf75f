import Adapters
import Checkpoints
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Adapters of models whose files hold matrices as [inputs, outputs], as GPT-2's.
@Suite struct TransposedBaseTests {
  private func withGPT2(_ body: (String, DecoderForCausalLM) throws -> Void) throws {
    var tiny = TinyModel()
    tiny.isGPT2 = true
    try withModel(tiny, body)
  }

  /// Saves a disturbed adapter and opens it on a fresh model; the file's tensors by their keys.
  @discardableResult
  private func roundTrip(
    _ configuration: any AdapterConfiguration
  ) throws -> (shapes: [String: [Int]], configuration: JSON) {
    var result: (shapes: [String: [Int]], configuration: JSON) = ([:], nil)
    try withGPT2 { directory, model in
      let plain = logits(model)
      let peft = try PeftModel(model, configuration)
      disturb(peft)
      let after = logits(model)
      #expect(!after.isEqual(to: plain))
      try peft.savePretrained(directory + "/adapter")
      let file = try SafetensorsFile(path: directory + "/adapter/adapter_model.safetensors")
      for entry in file.entries { result.shapes[entry.name] = entry.shape }
      result.configuration = try JSON.read(path: directory + "/adapter/adapter_config.json")
      // The state dictionary is the file's, and goes back in.
      try peft.loadStateDictionary(
        Dictionary(
          try peft.stateDictionary().map { ($0.key, $0.tensor.cloned()) },
          uniquingKeysWith: { $1 }))
      #expect(logits(model).isEqual(to: after))
      let again = try AutoModelForCausalLM.fromPretrained(directory)
      let opened = try PeftModel.fromPretrained(again, directory + "/adapter")
      #expect(logits(again).isEqual(to: after))
      #expect(opened.loadReports["default"]?.isComplete == true)
    }
    return result
  }

  @Test func modulesTrainedWhole() throws {
    var config = LoRAConfig(rank: 2, alpha: 4, targetModules: .names(["c_attn"]))
    config.modulesToSave = ["mlp"]
    let (shapes, json) = try roundTrip(config)
    let path = "base_model.model.transformer.h.0."
    #expect(shapes[path + "mlp.c_fc.weight"] == [16, 24])
    #expect(shapes[path + "mlp.c_proj.weight"] == [24, 16])
    #expect(shapes[path + "attn.c_attn.lora_A.weight"] == [2, 16])
    #expect(json["fan_in_fan_out"] == true)
  }

  /// Those of a shadow network too, whose blocks are called as the model's.
  @Test func shadowNetworks() throws {
    let (shapes, json) = try roundTrip(ShadowConfig(rank: 2, dropout: 0))
    #expect(shapes["base_model.shadow_backbone.default.h.0.attn.c_attn.weight"] == [16, 48])
    // PEFT has it and does not use it.
    #expect(shapes["base_model.shadow_backbone.default.wte.weight"] == [260, 16])
    #expect(shapes["base_model.model.transformer.h.1.shadow_down.default.weight"] == [2, 16])
    #expect(json["target_modules"] == ["transformer.h.0", "transformer.h.1"])
  }

  @Test func blendedAdaptersHaveThemToo() throws {
    try withGPT2 { _, model in
      var config = LoRAConfig(rank: 2, alpha: 4, targetModules: .names(["c_attn"]))
      config.modulesToSave = ["c_fc"]
      let peft = try PeftModel(model, config)
      disturb(peft)
      let after = logits(model)
      try peft.addWeightedAdapter([("default", 1)], name: "same")
      try peft.setAdapter(["same"])
      expectClose(logits(model), after, absolute: 1e-5)
    }
  }

  /// PEFT takes them for [outputs, inputs].
  @Test func singleWeightsAreRefused() throws {
    try withGPT2 { _, model in
      var config = LoRAConfig(rank: 2, alpha: 4, targetModules: .names(["c_attn"]))
      config.targetParameters = ["c_fc.weight"]
      #expect { _ = try PeftModel(model, config) } throws: {
        "\($0)".contains("target_parameters is transformer.h.0.mlp.c_fc.weight")
      }
    }
  }

  /// The head is stored as everywhere, and is the last layer that says how weights are stored.
  @Test func theLastLayerDecides() throws {
    let (_, json) = try roundTrip(
      LoRAConfig(rank: 2, alpha: 4, targetModules: .names(["c_attn", "lm_head"])))
    #expect(json["fan_in_fan_out"] == false)
  }
}
