import Adapters
import JSONValues
import Layers
import Models
import TestSupport
import Tensors
import Testing

/// What LoRA's variants promise beyond the contract.
@Suite struct LoRAVariantTests {
  private func config(_ change: (inout LoRAConfig) -> Void) -> LoRAConfig {
    var config = LoRAConfig(rank: 4, targetModules: .allLinear)
    config.initialization = .random
    change(&config)
    return config
  }

  /// Positions before the last occurrence are the base's, a row without one is all the base's.
  @Test func activatedAdaptersLeaveWhatIsBeforeThem() throws {
    try withModel { _, model in
      let ids = Tensor([5, 9, 3, 5, 9, 7, 5, 1, 2, 3, 4, 5], shape: [2, 6])
      let batch = DecoderInput(ids: ids)
      let plain = logits(model, batch)
      _ = try PeftModel(model, config { $0.invocationTokens = [5, 9] })
      let found = logits(model, batch)
      func row(_ tensor: Tensor, _ index: Int, _ range: Range<Int>) -> Tensor {
        tensor.narrowed(0, index..<index + 1).narrowed(1, range)
      }
      #expect(row(found, 0, 0..<3).isEqual(to: row(plain, 0, 0..<3)))
      #expect((row(found, 0, 3..<4) - row(plain, 0, 3..<4)).absolute().max().item() > 1e-3)
      #expect(row(found, 1, 0..<6).isEqual(to: row(plain, 1, 0..<6)))
      // With cached keys: the tokens that follow are behind the sequence.
      let cache = KeyValueCache(layerCount: 2, capacity: 6)
      _ = withoutGradients {
        model.logits(DecoderInput(ids: ids.narrowed(1, 0..<5)), cache: cache)
      }
      let last = withoutGradients {
        model.logits(DecoderInput(ids: ids.narrowed(1, 5..<6)), cache: cache)
      }
      expectClose(last, found.narrowed(1, 5..<6), absolute: 1e-5)
    }
  }

  /// Each packed document is searched by itself.
  @Test func activatedAdaptersKnowPackedDocuments() throws {
    try withModel { _, model in
      let packed = DecoderInput(
        ids: Tensor([1, 5, 9, 3, 5, 9, 2, 8], shape: [1, 8]),
        positions: Tensor([0, 1, 2, 3, 0, 1, 2, 3], shape: [1, 8]),
        sequenceIDs: Tensor([1, 1, 1, 1, 2, 2, 2, 2], shape: [1, 8]))
      _ = try PeftModel(model, config { $0.invocationTokens = [5, 9] })
      let together = logits(model, packed)
      let first = logits(model, DecoderInput(ids: Tensor([1, 5, 9, 3], shape: [1, 4])))
      let second = logits(model, DecoderInput(ids: Tensor([5, 9, 2, 8], shape: [1, 4])))
      expectClose(together, Tensor.concatenated([first, second], dimension: 1), absolute: 1e-5)
    }
  }

  @Test func replicatedBlocksShareWeightsAndMergeApart() throws {
    try withModel { directory, model in
      let peft = try PeftModel(model, config { $0.layerReplication = [[0, 2], [0, 1], [1, 2]] })
      #expect(model.configuration.layerCount == 4)
      func weight(_ layer: Int) throws -> Tensor {
        let path = "model.layers.\(layer).self_attn.q_proj"
        return try #require(model.module(at: path) as? Linear).projection.denseWeight()
      }
      #expect(try weight(0).sharesStorage(with: weight(2)))
      let keys = peft.adapterParameters().filter { $0.key.hasSuffix("q_proj.lora_A.weight") }
      #expect(keys.count == 4 && !keys[0].parameter.value.isEqual(to: keys[2].parameter.value))
      let adapted = logits(model)
      try peft.savePretrained(directory + "/adapter")
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      _ = try PeftModel.fromPretrained(other, directory + "/adapter")
      #expect(logits(other).isEqual(to: adapted))
      // Another adapter has to mean the same blocks.
      #expect(throws: AdapterError.self) {
        try peft.addAdapter("other", config { $0.layerReplication = [[0, 1]] })
      }
      try peft.mergeAndUnload(safely: true)
      expectClose(logits(model), adapted, absolute: 1e-5)
      #expect(try !weight(0).sharesStorage(with: weight(2)))
    }
  }

  /// KaSA's start is W without its smallest components.
  @Test func kasaDropsTheSmallestComponents() throws {
    let w = Tensor.randomNormal([10, 8], generator: Generator(seed: 3))
    let layer = Linear(weight: w)
    var config = LoRAConfig(rank: 3, alpha: 5, targetModules: .names(["linear"]))
    var settings = KaSAConfig()
    (settings.beta, settings.gamma) = (2, 3)
    config.kasa = settings
    let peft = try PeftModel(OneLayer(layer, named: "linear"), config)
    let (u, s, vt) = w.singularValueDecomposition()
    let kept = (u.narrowed(1, 0..<5) * s.narrowed(0, 0..<5)).matrixProduct(vt.narrowed(0, 0..<5))
    expectClose(layer(Tensor.identity(8)).detached(), kept.transposed(), absolute: 1e-5)
    // 2 |d|^2 + 3 (|0 - I| + |A A^T - I|)
    let own = Dictionary(
      uniqueKeysWithValues: peft.adapterParameters().map { ($0.key, $0.parameter.value.detached()) }
    )
    let prefix = "base_model.model.linear."
    let (a, d) = (
      try #require(own[prefix + "lora_A.weight"]), try #require(own[prefix + "lora_diag"])
    )
    let distance = (a.matrixProduct(a.transposed()) - Tensor.identity(3)).norm().item()
    let expected = 2 * (d * d).sum().item() + 3 * (3.0.squareRoot() + distance)
    #expect(abs(try #require(peft.penalty()).item() - expected) < 1e-4)
  }

  /// Blocks by hand: B's two blocks of one row each see their half of A's product.
  @Test func blocksLieOnTheDiagonal() throws {
    let layer = Linear(weight: Tensor.zeros([2, 4]))
    var config = LoRAConfig(rank: 2, alpha: 2, targetModules: .names(["linear"]))
    var blocks = BDLoRAConfig()
    (blocks.blockDiagonalA, blocks.blocks) = (["lin"], 2)
    config.bdLoRA = blocks
    let peft = try PeftModel(OneLayer(layer, named: "linear"), config)
    for (key, parameter) in peft.adapterParameters() {
      let isA = key.hasSuffix("lora_A.weight")
      parameter.value = Tensor(isA ? [1, 2, 3, 4] : [1, 10, 100, 1000] as [Float], shape: [2, 2])
    }
    // A x = [1 + 2, 3 + 4] for x of ones.
    #expect(layer(Tensor.ones([1, 4])).array(of: Float.self) == [73, 7300])
  }

  @Test func whatCannotBeIsRefused() throws {
    try withModel { _, model in
      func refuses(_ words: String..., change: (inout LoRAConfig) -> Void) {
        expectRefusal(parts: words) {
          try PeftModel(model, config(change))
        }
      }
      refuses("alora_invocation_tokens", "use_dora") {
        ($0.invocationTokens, $0.usesDoRA) = ([1], true)
      }
      refuses("alora_invocation_tokens") { $0.invocationTokens = [] }
      refuses("alora_invocation_tokens", "head") {
        ($0.invocationTokens, $0.targetModules) = ([1], .names(["lm_head"]))
      }
      refuses("alora", "embed_tokens") {
        ($0.invocationTokens, $0.targetModules) = ([1], .names(["embed_tokens"]))
      }
      refuses("lora_bias", "embed_tokens") {
        ($0.usesBias, $0.targetModules) = (true, .names(["embed_tokens"]))
      }
      refuses("use_bdlora", "q_proj", "match_strict") { $0.bdLoRA = BDLoRAConfig() }
      refuses("use_bdlora", "3 blocks", "16") {
        var blocks = BDLoRAConfig()
        (blocks.blockDiagonalB, blocks.blocks) = (["_proj"], 3)
        ($0.bdLoRA, $0.rank) = (blocks, 3)
      }
      refuses("kasa_config", "below 8", "k_proj") {
        ($0.kasa, $0.rank) = (KaSAConfig(), 8)
        $0.targetModules = .names(["k_proj"])
      }
      refuses("kasa_config", "pissa") { ($0.kasa, $0.initialization) = (KaSAConfig(), .pissa) }
      refuses("target_parameters", "experts.weight", "down_proj.weight") {
        $0.targetParameters = ["experts.weight"]
      }
      refuses("target_parameters", "q_proj") { $0.targetParameters = ["q_proj.weight"] }
      refuses("lora_dropout", "target_parameters") {
        ($0.targetParameters, $0.dropout) = (["q_proj.weight"], 0.1)
      }
      refuses("layer_replication", "0 to 2", "[0, 3]") { $0.layerReplication = [[0, 3]] }
      for value: JSON in [3, [[1]], [], ["a"]] {
        #expect(throws: AdapterError.self) {
          try LoRAConfig(json: ["peft_type": "LORA", "layer_replication": value], path: "x")
        }
      }
    }
  }
}
