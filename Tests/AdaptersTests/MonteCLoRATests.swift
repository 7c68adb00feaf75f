import Adapters
import JSONValues
import Layers
import Models
import TestSupport
import Tensors
import Testing

/// What MonteCLoRA promises beyond the contract and PEFT's numbers.
@Suite struct MonteCLoRATests {
  private func config(
    _ names: [String] = ["q_proj", "down_proj"],
    _ change: (inout MonteCLoRAConfig) -> Void = { _ in }
  ) -> LoRAConfig {
    var config = LoRAConfig(rank: 4, targetModules: .names(names))
    config.initialization = .random
    var settings = MonteCLoRAConfig()
    change(&settings)
    config.monteCLoRA = settings
    return config
  }

  private func values(
    _ peft: PeftModel<DecoderForCausalLM>, _ name: String
  ) -> [Tensor] {
    peft.adapterParameters().filter { $0.key.hasSuffix("." + name) }.map { $0.parameter.value }
  }

  /// Evaluation is the LoRA of the same factors; it takes no random numbers and leaves the file alone.
  @Test func evaluationDrawsNothing() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, config { $0.sampleScale = 0.1 })
      let (state, before) = (peft.context.generator.state, try peft.stateDictionary())
      let kept = before.map { $0.tensor.cloned() }
      let found = logits(model)
      #expect(logits(model).isEqual(to: found))
      #expect(peft.context.generator.state.isEqual(to: state))
      for (entry, old) in zip(try peft.stateDictionary(), kept) {
        #expect(entry.tensor.isEqual(to: old), "\(entry.key)")
      }
      var plain = config()
      plain.monteCLoRA = nil
      try peft.addAdapter("plain", plain)
      let factors = Dictionary(
        uniqueKeysWithValues: before.filter { !$0.key.contains("sampler") }
          .map { ($0.key, $0.tensor) })
      try peft.loadStateDictionary(factors, into: "plain")
      try peft.setAdapter(["plain"])
      #expect(logits(model).isEqual(to: found))
      // It can be given to single rows, as a LoRA can.
      try peft.setAdapter(["default"])
      let rows = try peft.withAdapters(perRow: ["default"]) { logits(model) }
      expectClose(rows, found, absolute: 1e-5)
    }
  }

  /// One sample of variance (s exp(d))^2 c for each number of A, where the mean of c is the rank.
  @Test func samplesHaveTheirDistribution() throws {
    final class Root: Module {
      let layer = Linear(weight: .zeros([4, 500]))
      var children: [(name: String, module: any Module)] { [("layer", layer)] }
    }
    let root = Root()
    let peft = try PeftModel(
      root,
      config(["layer"]) { ($0.sampleCount, $0.sampleScale) = (1, 0.5) })
    let own = Dictionary(
      uniqueKeysWithValues: peft.adapterParameters().map { ($0.key, $0.parameter) })
    let prefix = "base_model.model.layer."
    let deviations = try #require(own[prefix + "lora_monteclora_sampler.std_prior"])
    // A is zero and s B the identity (alpha is 8), so that the layer gives the transposed sample.
    withoutGradients {
      own[prefix + "lora_A.weight"]?.value.fillInPlace(0)
      own[prefix + "lora_B.weight"]?.value.copyInPlace(from: Tensor.identity(4) * 0.5)
      deviations.value.copyInPlace(from: Tensor([0, 0, 0.5, 0.5] as [Float]))
    }
    peft.context.isTraining = true
    var (sum, squares, rowMeans) = (0.0, Tensor.zeros([4]), [Double]())
    for _ in 0..<400 {
      let sample = withoutGradients { root.layer(.identity(500)) }  // [500, 4]
      sum += sample.mean().item()
      let mean = (sample * sample).mean([0])
      squares = squares + mean / 400
      rowMeans.append(mean.narrowed(0, 0..<1).item())
    }
    #expect(abs(sum / 400) < 0.01)
    // 0.5^2 exp(2 d) 4, with 400 draws of a chi-squared number of four degrees of freedom in each.
    expectClose(
      squares, Tensor([1, 1, 2.718, 2.718] as [Float]), absolute: 0, relative: 0.12)
    let mean = rowMeans.reduce(0, +) / 400
    let variance = rowMeans.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / 400
    #expect(abs(variance - 0.5) < 0.15, "\(variance)")
  }

  /// What a block draws when it is computed again for its gradients is what it drew before.
  @Test func checkpointedBlocksDrawTheSame() throws {
    func gradients(_ checkpoints: Bool) throws -> [(key: String, gradient: Tensor)] {
      var found: [(key: String, gradient: Tensor)] = []
      try withModel { _, model in
        let sampled = config {
          ($0.sampleScale, $0.usesEntropy, $0.divergenceWeight) = (0.1, true, 0.1)
        }
        let peft = try PeftModel(model, sampled, seed: 4)
        model.model.checkpointsActivations = checkpoints
        peft.context.isTraining = true
        let loss = model.summedLoss(sixTokens, labels: sixTokens.ids)
        (loss + (try #require(peft.penalty()))).backward()
        for (key, parameter) in peft.trainableParameters {
          found.append((key, try #require(parameter.value.gradient, "\(key)")))
        }
      }
      return found
    }
    let (plain, again) = (try gradients(false), try gradients(true))
    #expect(plain.contains { $0.key.hasSuffix("std_prior") && $0.gradient.norm().item() > 1e-3 })
    for (one, other) in zip(plain, again) {
      expectClose(other.gradient, one.gradient, absolute: 1e-5, relative: 1e-4)
    }
  }

  /// PEFT's is infinite, and its gradients NaN, from about 20 samples on.
  @Test func manySamplesStayFinite() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, config { $0.sampleCount = 64 })
      peft.context.isTraining = true
      _ = logits(model)
      let penalty = try #require(peft.penalty())
      #expect(penalty.item().isFinite)
      penalty.backward()
      for value in values(peft, "expert_weights_prior") {
        #expect(value.gradient?.isAllFinite == true)
      }
    }
  }

  /// The loss is the mean over the layers of all adapters that act.
  @Test func severalAdaptersAreAveraged() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, config(["q_proj"]) { $0.divergenceWeight = 1 })
      try peft.addAdapter(
        "wide", config(["q_proj", "v_proj", "o_proj"]) { $0.divergenceWeight = 1 }, seed: 3)
      func loss(_ names: [String]) throws -> Double {
        try peft.setAdapter(names)
        return try #require(peft.penalty()).item()
      }
      let (one, other) = (try loss(["default"]), try loss(["wide"]))
      #expect(abs(one - other) > 1e-3)
      // Two layers and six.
      #expect(abs(try loss(["default", "wide"]) - (2 * one + 6 * other) / 8) < 1e-4)
      var plain = config()
      plain.monteCLoRA = nil
      try peft.addAdapter("plain", plain)
      #expect(abs(try loss(["default", "plain"]) - one) < 1e-5)
      try peft.setAdapter(["plain"])
      #expect(peft.penalty() == nil)
    }
  }

  /// EVA moves ranks between layers: the distributions are of the new ranks, and their loss counts.
  @Test func movedRanksHaveDistributionsOfTheirOwn() throws {
    try withModel { directory, model in
      var moved = config(["q_proj", "v_proj"])
      // The layers of a block have the same inputs: what one had more, both share.
      (moved.rank, moved.initialization) = (1, .eva)
      moved.rankPattern = [PathPattern("v_proj", 3)]
      let peft = try PeftModel(model, moved)
      try peft.calibrate([
        CalibrationBatch { model.summedLoss(sixTokens, labels: sixTokens.ids) / 5 }
      ])
      let ranks = values(peft, "lora_A.weight").map { $0.size(0) }
      #expect(ranks != [1, 3, 1, 3])
      #expect(values(peft, "std_prior").map(\.count) == ranks)
      peft.context.isTraining = true
      _ = logits(model)
      let penalty = try #require(peft.penalty())
      penalty.backward()
      #expect(values(peft, "std_prior").allSatisfy { $0.gradient != nil })
      try peft.savePretrained(directory + "/adapter")
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      _ = try PeftModel.fromPretrained(other, directory + "/adapter")
      peft.context.isTraining = false
      #expect(logits(other).isEqual(to: logits(model)))
    }
  }

  /// Without its distributions it is an ordinary LoRA: written as one, and added up with others.
  @Test func plainLoRAsComeOfIt() throws {
    try withModel { directory, model in
      var pissa = config(["q_proj"])
      pissa.initialization = .pissa
      let peft = try PeftModel(model, pissa)
      withoutGradients { for a in values(peft, "lora_A.weight") { a.addInPlace(0.1) } }
      let expected = logits(model)
      try peft.savePretrained(directory + "/plain", asPlainLoRA: true)
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      let opened = try PeftModel.fromPretrained(other, directory + "/plain")
      #expect((opened.configurations[0].configuration as? LoRAConfig)?.monteCLoRA == nil)
      expectClose(logits(other), expected, absolute: 1e-4)
    }
    try withModel { _, model in
      let peft = try PeftModel(model, config(["q_proj"]))
      let expected = logits(model)
      try peft.addWeightedAdapter([("default", 1)], name: "sum")
      try peft.setAdapter(["sum"])
      expectClose(logits(model), expected, absolute: 1e-5)
      #expect(peft.adapterParameters("sum").allSatisfy { !$0.key.contains("sampler") })
    }
  }

  @Test func whatCannotBeIsRefused() throws {
    func refuses(_ field: String, _ change: (inout LoRAConfig) -> Void) throws {
      try withModel { _, model in
        var wrong = config()
        change(&wrong)
        #expect {
          _ = try PeftModel(model, wrong)
        } throws: {
          "\($0)".contains(field)
        }
        #expect(model.parameters().allSatisfy { !$0.path.contains("lora") })
      }
    }
    try refuses("num_samples") { $0.monteCLoRA?.sampleCount = 0 }
    try refuses("dirichlet_prior") { $0.monteCLoRA?.concentration = 0 }
    try refuses("sample_scaler") { $0.monteCLoRA?.sampleScale = .nan }
    try refuses("kl_loss_weight") { $0.monteCLoRA?.divergenceWeight = .infinity }
    try refuses("buffer_size") { $0.monteCLoRA?.bufferSize = 0 }
    try refuses("monteclora_config") { $0.usesDoRA = true }
    try refuses("monteclora_config") { $0.initialization = .mica }
    try refuses("monteclora_config") { $0.targetModules = .names(["embed_tokens"]) }
    try refuses("monteclora_config") { $0.targetParameters = ["q_proj.weight"] }
    for (field, value) in [
      ("num_samples", 2.5), ("use_entropy", "yes"), ("sample_scaler", "wide"), ("buffer", 3),
    ] as [(String, JSON)] {
      let json: JSON = ["peft_type": "LORA", "monteclora_config": [field: value]]
      #expect {
        _ = try LoRAConfig(json: json, path: "x")
      } throws: {
        "\($0)".contains(field)
      }
    }
  }

  /// The fields that Graft still refuses are refused by name.
  @Test(
    arguments: [("use_qalora", true), ("megatron_config", ["hidden_size": 16])] as [(String, JSON)])
  func otherFieldsAreRefused(_ field: String, _ value: JSON) {
    let json: JSON = ["peft_type": "LORA", field: value]
    #expect {
      _ = try LoRAConfig(json: json, path: "x")
    } throws: {
      "\($0)".contains(field)
    }
  }
}
