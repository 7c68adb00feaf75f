import Adapters
import Checkpoints
import Foundation
import JSONValues
import Layers
import Models
import Quantization
import Tensors
import TestSupport
import Testing

/// What can be done with adapters in a model, beyond what every method promises.
@Suite struct PeftModelTests {
  private let batch = sixTokens

  private func random(
    rank: Int, _ targets: TargetModules = .allLinear, bias: BiasTraining = .none
  ) -> LoRAConfig {
    var config = LoRAConfig(rank: rank, alpha: 6, targetModules: targets, bias: bias)
    config.initialization = .random
    return config
  }

  // Adapters of single rows

  private static let formats: [WeightFormat?] = [
    nil, .fourBit(.nf4, blockSize: 64, doubleQuantization: false),
  ]

  @Test(arguments: formats) func rowsWithAdaptersOfTheirOwn(_ format: WeightFormat?) throws {
    try withModel(quantization: format.map { QuantizationOptions($0) }) { _, model in
      let peft = try PeftModel(model, random(rank: 3), adapterName: "a", seed: 1)
      try peft.addAdapter("b", random(rank: 5, .names(["q_proj", "down_proj"])), seed: 2)
      try peft.addAdapter("c", random(rank: 2, .names(["v_proj"])), seed: 3)
      let ids = Tensor((0..<30).map { Int64($0 * 7 % 250) }, shape: [5, 6])
      let rows: [String?] = ["b", nil, "a", "c", "b"]
      let together = try peft.withAdapters(perRow: rows) {
        logits(model, DecoderInput(ids: ids))
      }
      for (index, name) in rows.enumerated() {
        try peft.setAdapter([name].compactMap { $0 })
        let alone = logits(model, DecoderInput(ids: ids.narrowed(0, index..<index + 1)))
        expectClose(together.narrowed(0, index..<index + 1), alone, absolute: 2e-5)
      }
      // The same in generation.
      let prompts = [[5, 9, 30], [7, 7], [100]]
      let chosen: [String?] = ["c", "a", nil]
      let answers = try peft.withAdapters(perRow: chosen) {
        try model.generate(prompts: prompts, maximumNewTokens: 6, endOfTextIDs: [])
      }
      for (index, name) in chosen.enumerated() {
        try peft.setAdapter([name].compactMap { $0 })
        #expect(
          try model.generate(prompts: [prompts[index]], maximumNewTokens: 6, endOfTextIDs: [])
            == [answers[index]])
      }
    }
  }

  @Test func rowsThatCannotHaveThem() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, random(rank: 3))
      func message(_ rows: [String?]) -> String {
        do {
          _ = try peft.withAdapters(perRow: rows) { logits(model) }
          return "nothing"
        } catch { return "\(error)" }
      }
      #expect(message(["default"]) == "nothing")
      #expect(message(["absent"]).contains("\"absent\" does not exist"))
      peft.context.isTraining = true
      #expect(message(["default"]).contains("evaluation only"))
      peft.context.isTraining = false
      try peft.mergeAdapter()
      #expect(message(["default"]).contains("merged"))
      peft.unmergeAdapter()
      var whole = random(rank: 2)
      whole.modulesToSave = ["norm"]
      try peft.addAdapter("whole", whole)
      #expect(message(["whole"]).contains("replaces"))
    }
  }

  // Adding, taking out, names

  @Test func conflictsAreRefusedAndChangeNothing() throws {
    try withModel { _, model in
      var whole = random(rank: 2, .names(["q_proj"]))
      whole.modulesToSave = ["model.norm"]
      let peft = try PeftModel(model, whole)
      try peft.addAdapter("other", whole, seed: 3)
      let before = logits(model)
      expectRefusal("both have a model.norm of their own") {
        try peft.setAdapter(["default", "other"])
      }
      #expect(logits(model).isEqual(to: before) && peft.context.active == ["default"])
      var wrong = LoRAConfig(targetModules: .names(["q_prj", "v_proj"]))
      expectRefusal("did you mean q_proj by q_prj?") {
        try peft.addAdapter("third", wrong)
      }
      wrong = LoRAConfig(rank: 9, targetModules: .names(["k_proj"]))
      expectRefusal("self_attn.k_proj is 9, expected at most 8") {
        try peft.addAdapter("third", wrong)
      }
      expectRefusal("adapter name is a.b") { try peft.addAdapter("a.b", whole) }
      expectRefusal("\"default\" exists already") {
        try peft.renameAdapter("other", to: "default")
      }
      expectRefusal("\"third\" does not exist") { try peft.deleteAdapter("third") }
      #expect(peft.configurations.map(\.name) == ["default", "other"])
      #expect(logits(model).isEqual(to: before))
    }
    try withModel { _, model in
      let peft = try PeftModel(model, random(rank: 2, bias: .all))
      expectRefusal("biases are trained with default already") {
        try peft.addAdapter("other", random(rank: 2, bias: .loraOnly))
      }
    }
  }

  @Test func chosenAdaptersAreMerged() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, random(rank: 3), adapterName: "a", seed: 1)
      try peft.addAdapter("b", random(rank: 2, .names(["v_proj", "up_proj"])), seed: 2)
      try peft.setAdapter(["a", "b"])
      let both = logits(model)
      try peft.setAdapter(["b"])
      let second = logits(model)
      try peft.mergeAdapter(["b"])
      expectClose(logits(model), second, absolute: 1e-5)
      #expect(throws: AdapterError.self) { try peft.deleteAdapter("b") }
      // What is merged is not added once more.
      try peft.setAdapter(["a", "b"])
      expectClose(logits(model), both, absolute: 2e-5)
      try peft.mergeAdapter(["a"])
      expectClose(logits(model), both, absolute: 2e-5)
      peft.unmergeAdapter()
      #expect(logits(model).isEqual(to: both))
      expectClose(logits(try peft.mergeAndUnload(adapters: ["b"])), second, absolute: 1e-5)
    }
  }

  @Test func hotSwapIsAFreshLoad() throws {
    try withModel { directory, model in
      let peft = try PeftModel(model, random(rank: 3), seed: 1)
      try peft.savePretrained(directory + "/one")
      let first = logits(model)
      var other = random(rank: 5, .names(["v_proj", "gate_proj"]))
      other.usesRankStabilization = true
      other.alphaPattern = [PathPattern("v_proj", 40)]
      try peft.addAdapter("b", other, seed: 2)
      try peft.savePretrained(directory + "/two", adapter: "b")
      try peft.setAdapter(["b"])
      let second = logits(model)
      try peft.deleteAdapter("b")
      try peft.setAdapter(["default"], trainable: true)
      try peft.hotSwapAdapter("default", from: directory + "/two")
      #expect(logits(model).isEqual(to: second) && !peft.trainableParameters.isEmpty)
      #expect(throws: (any Error).self) {
        try peft.hotSwapAdapter("default", from: directory + "/absent")
      }
      #expect(logits(model).isEqual(to: second))
      try peft.hotSwapAdapter("default", from: directory + "/one")
      #expect(logits(model).isEqual(to: first) && peft.configurations.map(\.name) == ["default"])
    }
  }

  // Files

  @Test func everythingThatDoesNotFitIsListed() throws {
    try withModel { directory, model in
      let peft = try PeftModel(model, random(rank: 4, .names(["q_proj", "v_proj"])))
      try peft.savePretrained(directory + "/adapter")
      #expect(try peft.stateDictionary().count == 8)
      var tensors = Dictionary(
        uniqueKeysWithValues: try peft.stateDictionary().map { ($0.key, $0.tensor.cloned()) })
      let stem = "base_model.model.model.layers."
      for layer in 0..<2 {
        tensors["\(stem)\(layer).self_attn.q_proj.lora_A.weight"] = nil
        tensors["\(stem)\(layer).self_attn.k_proj.lora_A.weight"] = Tensor.zeros([4, 16])
        tensors["\(stem)\(layer).self_attn.v_proj.lora_B.weight"] = Tensor.zeros([32, 4])
      }
      try SafetensorsWriter.save(
        directory + "/adapter/adapter_model.safetensors",
        tensors: tensors.map { ($0.key, $0.value) })
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      let plain = logits(other)
      do {
        _ = try PeftModel.fromPretrained(other, directory + "/adapter")
        Issue.record("opened")
      } catch AdapterError.keys(_, let report) {
        #expect(report.missing.count == 2 && report.unexpected.count == 2)
        #expect(report.misshapen.map(\.actual) == [[32, 4], [32, 4]])
        let text = "\(AdapterError.keys(path: "x", report: report))"
        for layer in 0..<2 {
          for name in ["q_proj.lora_A", "k_proj.lora_A", "v_proj.lora_B"] {
            #expect(text.contains("\(stem)\(layer).self_attn.\(name)"))
          }
        }
      }
      // A model that was wrapped for nothing is the base.
      #expect(logits(other).isEqual(to: plain))
      let before = logits(model)
      let loose = try peft.loadStateDictionary(tensors, isStrict: false)
      #expect(loose.matched.count == 4 && !loose.isComplete)
      #expect(logits(model).isEqual(to: before))
    }
  }

  /// Tensors from a file are not drawn first, and none is left without memory.
  @Test func loadedAdaptersHaveMemoryAndReports() throws {
    try withModel { directory, model in
      var config = random(rank: 4)
      config.modulesToSave = ["embed_tokens"]
      try PeftModel(model, config).savePretrained(directory + "/adapter")
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      let peft = try PeftModel.fromPretrained(other, directory + "/adapter")
      #expect(peft.adapterParameters().allSatisfy { $0.parameter.value.device == .cpu })
      let report = try #require(peft.loadReports["default"])
      #expect(report.matched.count == 29 && report.isComplete && report.replacedBase.isEmpty)
    }
  }

  @Test func cards() throws {
    try withModel { directory, model in
      var config = random(rank: 4)
      config.baseModel = "somebody/tiny"
      let peft = try PeftModel(model, config)
      let path = directory + "/adapter/README.md"
      try peft.savePretrained(directory + "/adapter")
      let fresh = try String(contentsOfFile: path, encoding: .utf8)
      #expect(
        fresh.hasPrefix(
          """
          ---
          base_model: somebody/tiny
          library_name: peft
          pipeline_tag: text-generation
          tags:
          - base_model:adapter:somebody/tiny
          - lora
          - transformers
          ---

          # LORA adapter for somebody/tiny

          """))
      try peft.savePretrained(directory + "/adapter")
      #expect(try String(contentsOfFile: path, encoding: .utf8) == fresh)
      let own = "---\nlicense: mit\ntags:\n  - mine\npipeline_tag: other\n---\nMy page\n"
      try own.write(toFile: path, atomically: true, encoding: .utf8)
      try peft.savePretrained(directory + "/adapter")
      let kept = try String(contentsOfFile: path, encoding: .utf8)
      #expect(kept.hasSuffix("---\nMy page\n") && kept.contains("license: mit\n"))
      #expect(kept.contains("- mine\n") && kept.contains("- lora\n"))
      #expect(kept.contains("pipeline_tag: other\n") && !kept.contains("text-generation"))
    }
  }

  // Types and status

  @Test(arguments: [DType.bfloat16, .float16, .float64])
  func adaptersOfOtherTypes(_ dtype: DType) throws {
    for base in [DType.float32, .bfloat16] {
      let other = try tinyModel(dtype: base)
      _ = try PeftModel(other, random(rank: 3), seed: 4)
      let wanted = logits(other).to(.float32)
      try withModel(dtype: base) { directory, model in
        let peft = try PeftModel(model, random(rank: 3), seed: 4, dtype: dtype)
        #expect(peft.adapterParameters().allSatisfy { $0.parameter.value.dtype == dtype })
        let found = logits(model)
        #expect(found.dtype == base)
        // The same draws, but for float64, which takes others.
        let error = ((found.to(.float32) - wanted).norm() / wanted.norm()).item()
        #expect(dtype == .float64 || error < 0.05)
        model.summedLoss(batch, labels: batch.ids).backward()
        for (_, parameter) in peft.trainableParameters {
          #expect(parameter.value.gradient?.dtype == dtype)
          #expect(parameter.value.gradient?.isAllFinite == true)
        }
        let merged = logits(try peft.mergeAndUnload())
        #expect(((merged - found).to(.float32).norm() / wanted.norm()).item() < 0.02)
      }
    }
  }

  @Test func status() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, random(rank: 3, .names(["q_proj", "v_proj"])))
      try peft.addAdapter("b", random(rank: 2, .names(["v_proj"])))
      let layers = peft.layerStatus
      #expect(layers.count == 4 && layers[0].name == "model.layers.0.self_attn.q_proj")
      #expect(layers[0].availableAdapters == ["default"] && layers[0].mergedAdapters.isEmpty)
      #expect(layers[1].requiresGradient == ["default": true, "b": false])
      #expect(layers[1].moduleType == "DenseProjection" && layers[1].devices["b"] == [.cpu])
      var whole = peft.modelStatus
      #expect(whole.baseModelType == "DecoderForCausalLM" && whole.adapterLayerCount == 4)
      #expect(whole.peftTypes == ["default": "LORA", "b": "LORA"])
      #expect(whole.activeAdapters == ["default"] && whole.isEnabled)
      #expect(whole.trainableParameters == 2 * (3 * 32 + 3 * 24))
      #expect(whole.mergedAdapters == [] && whole.requiresGradient["b"] == .some(false))
      try peft.mergeAdapter(["b"])
      whole = peft.modelStatus
      #expect(whole.mergedAdapters == nil)  // Only some layers have it.
      #expect(peft.withAdaptersDisabled { peft.modelStatus.isEnabled } == false)
    }
  }
}
