import Adapters
import Checkpoints
import Foundation
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Mixtures of LoRA adapters, beyond what every method promises.
@Suite struct XLoRATests {
  private let batch = sixTokens
  private let labels = sixTokens.ids

  private func mixture(_ change: (inout XLoRAConfig) -> Void = { _ in }) -> XLoRAConfig {
    var config = XLoRAConfig(adapters: TestAdapters.experts)
    change(&config)
    return config
  }

  /// Makes the classifier say the same of every token.
  private func say(_ scores: [Double], _ peft: PeftModel<DecoderForCausalLM>) {
    for (key, parameter) in peft.adapterParameters() {
      parameter.value =
        key.hasSuffix(".bias")
        ? Tensor(scores.map(Float.init), shape: [scores.count])
        : parameter.value.detached().zerosLike()
    }
  }

  /// What the model gives where some experts act with fixed weights.
  private func mixed(_ weights: [String: Double]) throws -> Tensor {
    var result: Tensor?
    try withModel { directory, model in
      var peft: PeftModel<DecoderForCausalLM>?
      for (name, weight) in weights.sorted(by: { $0.key < $1.key }) {
        let folder = directory + "/" + name
        try FileManager.default.copyItem(
          atPath: try #require(TestAdapters.experts[name]), toPath: folder)
        let path = folder + "/adapter_config.json"
        var json = try #require(try JSON.read(path: path).objectValue)
        json["lora_alpha"] = .number(8 * weight)
        try Data(JSON.object(json).serialized(indent: 2).utf8)
          .write(to: URL(fileURLWithPath: path))
        if let peft {
          try peft.loadAdapter(folder, name: name)
        } else {
          peft = try PeftModel.fromPretrained(model, folder, adapterName: name)
        }
      }
      try peft?.setAdapter(weights.keys.sorted())
      result = logits(model)
    }
    return try #require(result)
  }

  @Test func weightsMultiplyWhatExpertsAdd() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, mixture { $0.globalWeight = 1.5 })
      say([0, 0, 0], peft)
      expectClose(
        logits(model), try mixed(["0": 0.5, "1": 0.5, "2": 0.5]), absolute: 1e-5)
      // softmax of 0, log 2, log 5: 1/8, 2/8, 5/8.
      say([0, 0.693147180559945, 1.609437912434100], peft)
      expectClose(
        logits(model), try mixed(["0": 0.1875, "1": 0.375, "2": 0.9375]),
        absolute: 1e-5)
    }
    try withModel { _, model in
      let peft = try PeftModel(model, mixture { $0.temperature = 0.5 })
      // Twice 0, log 2, log 3: 1/14, 4/14, 9/14.
      say([0, 0.693147180559945, 1.098612288668110], peft)
      expectClose(
        logits(model), try mixed(["0": 1.0 / 14, "1": 4.0 / 14, "2": 9.0 / 14]),
        absolute: 1e-5)
    }
  }

  @Test func onlyTheLargestAct() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, mixture { ($0.usesSoftmax, $0.topK) = (false, 2) })
      say([0.1, 0.5, 0.2], peft)
      expectClose(logits(model), try mixed(["1": 0.5, "2": 0.2]), absolute: 1e-5)
    }
    try withModel { _, model in
      let peft = try PeftModel(
        model,
        mixture { ($0.usesSoftmax, $0.usesSoftmaxOfTopK, $0.topK) = (false, true, 2) })
      // 1 and 1 + log 3 share as 1 : 3.
      say([1, 0.5, 2.098612288668110], peft)
      expectClose(logits(model), try mixed(["0": 0.25, "2": 0.75]), absolute: 1e-5)
    }
  }

  @Test func expertsAreInTheOrderOfTheirNames() throws {
    func one(_ names: [String], _ scores: [Double]) throws -> Tensor {
      let model = try tinyModel()
      var adapters: [String: String] = [:]
      for (index, name) in names.enumerated() {
        adapters[name] = TestAdapters.experts["\(index)"]
      }
      let peft = try PeftModel(
        model, mixture { ($0.adapters, $0.usesSoftmax) = (adapters, false) })
      say(scores, peft)
      return logits(model)
    }
    // "10" comes after "2" by value, "b10" before "b2".
    expectClose(try one(["10", "2"], [1, 0]), try mixed(["1": 1]), absolute: 1e-5)
    expectClose(try one(["b10", "b2"], [1, 0]), try mixed(["0": 1]), absolute: 1e-5)
  }

  /// With a cache for each of both passes the same tokens come as without any.
  @Test(arguments: [0, 0.3]) func generatesAsWithoutCaches(_ firstPassWeight: Double) throws {
    try withModel { _, model in
      let config = mixture {
        ($0.firstPassWeight, $0.depth, $0.size) = (firstPassWeight, 2, 12)
        $0.hasLayerwiseWeights = true
      }
      let peft = try PeftModel(model, config, seed: 3)
      let plain = try peft.withAdaptersDisabled {
        try model.generate(prompts: [[5, 9, 70]], maximumNewTokens: 8, endOfTextIDs: [])[0]
      }
      try expectSameTokens(model)
      #expect(
        try model.generate(prompts: [[5, 9, 70]], maximumNewTokens: 8, endOfTextIDs: [])[0]
          != plain)
    }
  }

  @Test func layersAreTheBasesOutsideThePasses() throws {
    try withModel { _, model in
      let plain = logits(model)
      let peft = try PeftModel(model, mixture { $0.firstPassWeight = 0 })
      let adapted = logits(model)
      #expect(!adapted.isEqual(to: plain))
      try peft.setAdapter([])
      #expect(logits(model).isEqual(to: plain))
    }
  }

  @Test func trainedExpertsAreSaved() throws {
    try withModel { directory, model in
      let peft = try PeftModel(model, mixture { $0.trainsExperts = true })
      let keys = peft.trainableParameters.map(\.key)
      #expect(keys.contains("base_model.model.model.layers.1.self_attn.v_proj.lora_B.1.weight"))
      withoutGradients {
        for (_, parameter) in peft.trainableParameters { _ = parameter.value.multiplyInPlace(1.1) }
      }
      let adapted = logits(model)
      try peft.savePretrained(directory + "/a")
      let json = try JSON.read(path: directory + "/a/adapter_config.json")
      #expect(json["adapters"]?.objectValue?["2"] == "2")
      // The classifier alone is in the adapter's own file.
      let file = try SafetensorsFile(path: directory + "/a/adapter_model.safetensors")
      #expect(file.entries.allSatisfy { $0.name.contains("internal_xlora_classifier") })
      // It goes where its directory goes, and each expert is an adapter of its own.
      try FileManager.default.moveItem(atPath: directory + "/a", toPath: directory + "/b")
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      let opened = try PeftModel.fromPretrained(other, directory + "/b", trainable: true)
      #expect(logits(other).isEqual(to: adapted))
      other.summedLoss(batch, labels: labels).backward()
      #expect(opened.trainableParameters.map(\.key) == keys)
      #expect(
        opened.trainableParameters.allSatisfy {
          ($0.parameter.value.gradient?.norm().item() ?? 0) > 0
        })
      withoutGradients {
        for (_, parameter) in opened.trainableParameters {
          _ = parameter.value.multiplyInPlace(0.5)
        }
      }
      try opened.reload(directory + "/b")
      #expect(logits(other).isEqual(to: adapted))
      _ = try PeftModel.fromPretrained(
        try AutoModelForCausalLM.fromPretrained(directory), directory + "/b/1")
    }
  }

  @Test func frozenExpertsAreNamedOnly() throws {
    try withModel { directory, model in
      let peft = try PeftModel(model, mixture())
      #expect(
        peft.adapterParameters().map(\.key) == [
          "base_model.internal_xlora_classifier.layers.0.weight",
          "base_model.internal_xlora_classifier.layers.0.bias",
        ])
      try peft.savePretrained(directory + "/a")
      #expect(!FileManager.default.fileExists(atPath: directory + "/a/0"))
      // Paths of a file count from its directory.
      let path = directory + "/a/adapter_config.json"
      var json = try #require(try JSON.read(path: path).objectValue)
      for (name, place) in TestAdapters.experts {
        try FileManager.default.copyItem(atPath: place, toPath: directory + "/a/expert \(name)")
      }
      json["adapters"] = .object(
        JSONObject(TestAdapters.experts.keys.map { ($0, .string("expert \($0)")) }))
      try Data(JSON.object(json).serialized(indent: 2).utf8).write(to: URL(fileURLWithPath: path))
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      let opened = try PeftModel.fromPretrained(other, directory + "/a")
      #expect(logits(other).isEqual(to: logits(model)))
      let found = try #require(opened.configurations[0].configuration as? XLoRAConfig)
      #expect(found.adapters["1"] == directory + "/a/expert 1")
    }
  }

  // What is refused

  @Test func fields() throws {
    try expectRefusal(XLoRAConfig(), "adapters is {}")
    try expectRefusal(mixture { $0.hiddenSize = 4096 }, "hidden_size is 4096", "the model's 16")
    try expectRefusal(mixture { $0.depth = 0 }, "xlora_depth is 0")
    try expectRefusal(mixture { $0.size = 0 }, "xlora_size is 0")
    try expectRefusal(mixture { $0.dropout = 1 }, "xlora_dropout_p is 1")
    try expectRefusal(mixture { $0.temperature = 0 }, "softmax_temperature is 0")
    try expectRefusal(mixture { $0.topK = 4 }, "top_k_lora is 4", "the 3 experts")
    try expectRefusal(mixture { $0.topK = 0 }, "top_k_lora is 0")
    expectRefusal("directories by name") {
      try XLoRAConfig(json: ["peft_type": "XLORA", "adapters": ["a": 3]], path: "x")
    }
  }

  @Test func experts() throws {
    try expectRefusal(
      mixture { $0.adapters["1"] = "/nowhere" }, "adapters.1 is /nowhere", "adapter_config.json")
    try withModel { directory, model in
      func saved(_ config: any AdapterConfiguration, _ name: String) throws -> String {
        let model = try AutoModelForCausalLM.fromPretrained(directory)
        try PeftModel(model, config).savePretrained(directory + "/" + name)
        return directory + "/" + name
      }
      let vera = try saved(VeRAConfig(rank: 4, targetModules: .allLinear), "vera")
      try expectRefusal(mixture { $0.adapters["1"] = vera }, "adapters.1", "the method VERA")
      let head = try saved(LoRAConfig(targetModules: .names(["lm_head", "q_proj"])), "head")
      try expectRefusal(mixture { $0.adapters["1"] = head }, "adapters.1", "which has lm_head too")
      var whole = LoRAConfig(targetModules: .names(["q_proj"]))
      whole.modulesToSave = ["lm_head"]
      let modules = try saved(whole, "whole")
      try expectRefusal(mixture { $0.adapters["1"] = modules }, "adapters.1", "trains lm_head too")
    }
    let wide = TinyModel { ($0.hiddenSize, $0.intermediateSize) = (32, 48) }
    try withModel(wide) { directory, model in
      try PeftModel(model, LoRAConfig(targetModules: .names(["q_proj"])))
        .savePretrained(directory + "/a")
      try expectRefusal(
        mixture { $0.adapters["1"] = directory + "/a" }, "lora_A.weight: [8, 32]",
        "[8, 16] is needed")
    }
  }

  /// PEFT 0.21.2's own files lack the classifier's first layer.
  @Test func filesWithoutTheFirstLayer() throws {
    try withModel { directory, model in
      let peft = try PeftModel(model, mixture { ($0.depth, $0.size) = (2, 8) })
      try peft.savePretrained(directory + "/a")
      let path = directory + "/a/adapter_model.safetensors"
      let file = try SafetensorsFile(path: path)
      let left = try file.entries.filter { !$0.name.contains(".layers.0.") }
        .map { ($0.name, try file.tensor($0).cloned()) }
      #expect(left.count == 2)
      try SafetensorsWriter.save(path, tensors: left)
      expectRefusal(
        "internal_xlora_classifier.layers.0 is missing", "PEFT 0.21.2 leaves layers out"
      ) {
        try PeftModel.fromPretrained(
          try AutoModelForCausalLM.fromPretrained(directory), directory + "/a")
      }
    }
  }

  @Test func whatCannotBe() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, mixture())
      #expect { try peft.mergeAdapter() } throws: {
        "\($0)"
          == "XLORA adapters cannot be merged, as each token has its own weights of the experts"
      }
      try peft.addAdapter("b", ShadowConfig(rank: 4))
      expectRefusal("default and b both take part in whole passes") {
        try peft.setAdapter(["default", "b"])
      }
      // A LoRA can act beside it, and is merged alone.
      try peft.addAdapter("c", LoRAConfig(rank: 2, targetModules: .names(["q_proj", "up_proj"])))
      expectRefusal("default acts on all rows") { try peft.withAdapters(perRow: ["c"]) {} }
      try peft.setAdapter(["default", "c"], trainable: true)
      let together = logits(model)
      try peft.mergeAdapter(["c"])
      expectClose(logits(model), together, absolute: 1e-5)
    }
  }
}
