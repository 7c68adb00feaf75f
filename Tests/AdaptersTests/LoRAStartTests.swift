import Adapters
import Checkpoints
import Foundation
import JSONValues
import Layers
import Models
import Quantization
import TestSupport
import Tensors
import Testing

/// What LoRA's starts promise beyond the contract.
@Suite struct LoRAStartTests {
  private let path = "base_model.model.model.layers.0.self_attn.q_proj."

  private func config(_ start: LoRAConfig.Initialization, rank: Int = 4) -> LoRAConfig {
    var config = LoRAConfig(rank: rank, alpha: 6, targetModules: .names(["q_proj", "down_proj"]))
    config.initialization = start
    return config
  }

  private func tensor(_ peft: PeftModel<DecoderForCausalLM>, _ name: String) throws -> Tensor {
    try #require(peft.adapterParameters().first { $0.key == path + name }).parameter.value
      .detached()
  }

  private func weight(_ model: DecoderForCausalLM) throws -> Tensor {
    let layer = try #require(model.module(at: "model.layers.0.self_attn.q_proj") as? Linear)
    return layer.projection.denseWeight().detached()
  }

  /// s B A of a fresh adapter is what its definition says of W.
  @Test func startsAreTheirPartOfTheWeight() throws {
    try withModel { _, model in
      let w = try weight(model)
      let s = w.singularValueDecomposition().s.array(of: Float.self).map(Double.init)
      func rest(_ values: some Sequence<Double>) -> Double {
        values.reduce(0) { $0 + $1 * $1 }.squareRoot()
      }
      for (start, expected) in [
        (LoRAConfig.Initialization.pissa, rest(s.dropFirst(4))),
        (.pissaFast(iterations: 16), rest(s.dropFirst(4))),
        (.milora, rest(s.dropLast(4))),
      ] {
        let peft = try PeftModel(model, config(start))
        let part = try tensor(peft, "lora_B.weight").matrixProduct(tensor(peft, "lora_A.weight"))
        #expect(abs((w - part * 1.5).norm().item() - expected) < 1e-4 * expected, "\(start)")
        try peft.unload()
      }
      let peft = try PeftModel(model, config(.olora))
      let (q, r) = w.qrDecomposition()
      #expect(try tensor(peft, "lora_A.weight").isEqual(to: r.narrowed(0, 0..<4)))
      #expect(try tensor(peft, "lora_B.weight").isEqual(to: q.narrowed(1, 0..<4)))
    }
  }

  @Test func orthogonalFactorsCancel() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, config(.orthogonal))
      let (a, b) = (try tensor(peft, "lora_A.weight"), try tensor(peft, "lora_B.weight"))
      #expect(b.matrixProduct(a).absolute().max().item() < 1e-7)
      #expect(a.norm().item() > 0.1 && b.norm().item() > 0.1)
    }
  }

  @Test func micaTrainsTheSmallestLeftSingularVectors() throws {
    try withModel { _, model in
      let w = try weight(model)
      let peft = try PeftModel(model, config(.mica))
      let b = try tensor(peft, "lora_B.weight")
      let s = w.singularValueDecomposition().s.narrowed(0, 12..<16)
      expectClose(b.transposed().matrixProduct(w).norm([1]), s, absolute: 1e-5)
      #expect(peft.trainableParameters.allSatisfy { $0.key.hasSuffix("lora_A.weight") })
      #expect(peft.adapterParameters().count == 2 * peft.trainableParameters.count)
    }
  }

  /// B0 A0 of a symmetric weight is its best approximation; of others that of the symmetric part.
  @Test func eigenvectorsApproximateTheSymmetricPart() throws {
    try withModel { _, model in
      let w = try weight(model)
      let symmetric = (w + w.transposed()) * 0.5
      var eigen = config(.eigen)
      eigen.targetModules = .names(["q_proj"])
      let peft = try PeftModel(model, eigen)
      let part =
        try tensor(peft, "lora_B.weight").matrixProduct(tensor(peft, "lora_A.weight")) * 1.5
      expectClose(part, part.transposed(), absolute: 1e-6)
      let s = symmetric.singularValueDecomposition().s.narrowed(0, 4..<16)
      #expect(abs((symmetric - part).norm().item() - s.norm().item()) < 1e-4)
    }
  }

  @Test func whatCannotBeIsRefused() throws {
    try withModel { _, model in
      func refuses(_ config: LoRAConfig, _ words: String...) {
        expectRefusal(parts: words) {
          try PeftModel(model, config)
        }
      }
      refuses(config(.eigen), "eigen", "down_proj", "square", "[16, 24]")
      refuses(config(.pissa, rank: 17), "rank", "q_proj", "at most 16", "17")
      refuses(config(.olora, rank: 17), "olora", "17")
      refuses(config(.mica, rank: 17), "mica", "17")
      refuses(config(.orthogonal, rank: 3), "even", "3")
      var both = config(.standard)
      (both.usesBias, both.usesDoRA) = (true, true)
      refuses(both, "lora_bias", "use_dora")
      both = config(.pissa)
      both.usesBias = true
      refuses(both, "lora_bias", "init_lora_weights")
      for value: JSON in ["pissa_niter_", "pissa_niter_-1", "svd", 3] {
        #expect(throws: AdapterError.self) {
          try LoRAConfig(json: ["peft_type": "LORA", "init_lora_weights": value], path: "x")
        }
      }
    }
  }

  /// A file that is added to the base as it is gives the same outputs as the adapter.
  @Test func filesOfAPartOfTheBaseBecomePlainLoRA() throws {
    for (start, isPlainUnasked) in [
      (LoRAConfig.Initialization.pissa, false), (.olora, false), (.milora, true),
      (.pissaFast(iterations: 2), true),
    ] {
      try withModel { directory, model in
        var config = config(start)
        config.usesRankStabilization = true
        config.rankPattern = [PathPattern("down_proj", 3)]
        config.alphaPattern = [PathPattern("q_proj", 5)]
        let peft = try PeftModel(model, config)
        withoutGradients {
          for (_, parameter) in peft.trainableParameters { parameter.value.multiplyInPlace(1.1) }
        }
        let adapted = logits(model)
        for (name, plain) in [("plain", true), ("own", false), ("unasked", nil)] {
          try peft.savePretrained("\(directory)/\(name)", asPlainLoRA: plain)
          let other = try AutoModelForCausalLM.fromPretrained(directory)
          let opened = try PeftModel.fromPretrained(other, "\(directory)/\(name)")
          expectClose(logits(other), adapted, absolute: 1e-6)
          let found = try #require(opened.configurations.first?.configuration as? LoRAConfig)
          let isPlain = plain ?? isPlainUnasked
          #expect(found.rank == (isPlain ? 8 : 4))
          #expect(found.rankPattern == [PathPattern("down_proj", isPlain ? 6 : 3)])
          #expect(found.initialization == (isPlain ? .standard : start))
        }
        // As PEFT writes it, it does not say what the base was.
        guard isPlainUnasked else { return }
        let file = try SafetensorsFile(path: directory + "/own/adapter_model.safetensors")
        try SafetensorsWriter.save(
          directory + "/own/adapter_model.safetensors",
          tensors: try file.tensors().filter { !$0.name.contains("start") }
            .map { ($0.name, $0.tensor.cloned()) })
        expectRefusal("path_initial_model_for_weight_conversion") {
          try PeftModel.fromPretrained(model, directory + "/own")
        }
      }
    }
  }

  /// Files sort the keys of patterns; the layers keep their ranks and scales all the same.
  @Test func orderOfPatternsSurvivesFiles() throws {
    try withModel { directory, model in
      var config = LoRAConfig(rank: 4, targetModules: .names(["q_proj", "v_proj"]))
      config.initialization = .random
      config.rankPattern = [PathPattern("q_proj", 2), PathPattern(".*1.*q_proj", 6)]
      config.alphaPattern = [PathPattern("v_proj", 1), PathPattern("layers.0.*", 32)]
      let peft = try PeftModel(model, config)
      let adapted = logits(model)
      try peft.savePretrained(directory + "/adapter")
      let json = try JSON.read(path: directory + "/adapter/adapter_config.json")
      let ranks = try #require(json["rank_pattern"]?.objectValue)
      #expect(ranks.map(\.key).allSatisfy { $0.hasPrefix("^model") } && ranks.count == 2)
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      _ = try PeftModel.fromPretrained(other, directory + "/adapter")
      #expect(logits(other).isEqual(to: adapted))
      // What any order means the same is left as it was.
      config.rankPattern = [PathPattern("v_proj", 2), PathPattern("q_proj", 6)]
      config.alphaPattern = []
      let again = try PeftModel(other, config, adapterName: "again")
      try again.savePretrained(directory + "/again")
      let kept = try JSON.read(path: directory + "/again/adapter_config.json")
      #expect(kept["rank_pattern"] == ["q_proj": 6, "v_proj": 2])
    }
  }

  /// The bias is scaled with the product, in the layer and merged.
  @Test func biasesAreScaled() throws {
    let layer = Linear(
      weight: Tensor([1, 2] as [Float], shape: [1, 2]), bias: Tensor([10] as [Float]))
    var config = LoRAConfig(rank: 1, alpha: 2, targetModules: .names(["linear"]))
    config.usesBias = true
    let peft = try PeftModel(OneLayer(layer, named: "linear"), config)
    let values: [String: [Float]] = [
      "lora_A.weight": [1, 1], "lora_B.weight": [3], "lora_B.bias": [5],
    ]
    for (key, parameter) in peft.adapterParameters() {
      let name = key.split(separator: ".").suffix(2).joined(separator: ".")
      parameter.value = Tensor(try #require(values[name]), shape: parameter.value.shape)
    }
    // 1 + 4 + 10 + 2 (3 (1 + 2) + 5)
    let x = Tensor([1, 2] as [Float], shape: [1, 2])
    #expect(layer(x).item() == 43)
    try peft.mergeAndUnload()
    #expect(layer(x).item() == 43)
    #expect(layer.projection.bias?.value.item() == 20)
  }

  /// m / n by hand: rows of length 5 and m of 10 double the layer without its bias.
  @Test func magnitudesScaleRowsNotBiases() throws {
    let layer = Linear(
      weight: Tensor([3, 4, 0, 0] as [Float], shape: [2, 2]), bias: Tensor([1, 1] as [Float]))
    var config = LoRAConfig(rank: 1, targetModules: .names(["linear"]))
    config.usesDoRA = true
    let peft = try PeftModel(OneLayer(layer, named: "linear"), config)
    let magnitude = try #require(
      peft.adapterParameters().first { $0.key.hasSuffix("magnitude_vector") }
    ).parameter
    #expect(magnitude.value.array(of: Float.self) == [5, 0])
    magnitude.value = Tensor([10, 0] as [Float])
    let x = Tensor([1, 1] as [Float], shape: [1, 2])
    // A row of zeros stays one: no 0 / 0.
    #expect(layer(x).array(of: Float.self) == [15, 1])
    try peft.mergeAndUnload()
    #expect(layer(x).array(of: Float.self) == [15, 1])
  }
}
