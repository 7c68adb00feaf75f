import Adapters
import Checkpoints
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// What AdaLoRA, AdaMSS and Poly do beyond the contract.
@Suite struct AdaptiveTests {
  private let batch = DecoderInput(
    ids: Tensor([7, 3, 200, 41, 9, 77, 5, 90, 91, 92, 17, 250], shape: [2, 6]))
  private let labels = Tensor(
    [7, 3, 200, 41, 9, 77, 5, 90, 91, 92, 17, 250] as [Int64], shape: [2, 6])
  private let query = "base_model.model.model.layers.0.self_attn.q_proj."

  private func withModel(_ body: (String, DecoderForCausalLM) throws -> Void) throws {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory)
      try body(directory, try AutoModelForCausalLM.fromPretrained(directory))
    }
  }

  private func logits(_ model: DecoderForCausalLM) -> Tensor {
    withoutGradients { model.logits(batch) }
  }

  private func tensor(_ peft: PeftModel<DecoderForCausalLM>, _ key: String) throws -> Tensor {
    try #require(peft.adapterParameters().first { $0.key == key }, "\(key)").parameter.value
  }

  private func disturb(_ peft: PeftModel<DecoderForCausalLM>, scale: Double = 0.1) {
    let generator = Generator(seed: 9)
    withoutGradients {
      for (_, parameter) in peft.trainableParameters {
        parameter.value.addInPlace(
          .randomNormal(parameter.value.shape, generator: generator), scale: scale)
      }
    }
  }

  /// One step down the gradient's signs, as a trainer makes it.
  private func step(_ peft: PeftModel<DecoderForCausalLM>, _ number: Int, of total: Int) {
    let loss = peft.base.summedLoss(batch, labels: labels)
    (peft.penalty().map { loss + $0 } ?? loss).backward()
    withoutGradients {
      for (_, parameter) in peft.trainableParameters {
        guard let gradient = parameter.value.gradient else { continue }
        parameter.value.addInPlace(gradient.sign(), scale: -1e-3)
      }
    }
    peft.didStep(number, of: total)
    for (_, parameter) in peft.trainableParameters { parameter.value.gradient = nil }
  }

  private func ranksLeft(_ peft: PeftModel<DecoderForCausalLM>) -> Int {
    peft.adapterParameters().filter { $0.key.hasSuffix("lora_E") }
      .reduce(0) { $0 + Int(($1.parameter.value .!= 0).sum().item()) }
  }

  /// 4 layers of 4 ranks fall to 2 each with the third power of what is left of 8 updates, the first two
  /// of which do not count, at every second one.
  @Test func budgetFalls() throws {
    try withModel { base, model in
      var config = AdaLoRAConfig(
        targetRank: 2, initialRank: 4, targetModules: .names(["q_proj", "v_proj"]))
      (config.initialSteps, config.finalSteps, config.interval) = (2, 2, 2)
      let peft = try PeftModel(model, config)
      disturb(peft)
      try peft.beginTraining(updates: 10)
      var left: [Int] = []
      for number in 1...10 {
        step(peft, number, of: 10)
        left.append(ranksLeft(peft))
      }
      // 8 + 8 (1 - (step - 2) / 6)^3: 10 after step 4, 8 after 6 and 8.
      #expect(left[..<3] == [16, 16, 16])
      #expect(left[3] == 10 && left[5] == 8 && left[7...] == [8, 8, 8], "\(left)")
      try withTemporaryDirectory { directory in
        try peft.savePretrained(directory)
        let json = try JSON.read(path: directory + "/adapter_config.json")
        #expect(json["total_step"] == 10)
        let masks = try #require(json["rank_pattern"]?.objectValue)
        #expect(masks.count == 4)
        #expect(masks.reduce(0) { $0 + ($1.value.arrayValue?.count { $0 == true } ?? 0) } == 8)
        let file = try SafetensorsFile(path: directory + "/adapter_model.safetensors")
        let rows = file.entries.filter { $0.name.hasSuffix("lora_A") }.map { $0.shape[0] }
        #expect(rows.reduce(0, +) == 8)
        // Trained on and saved, masks count the initial ranks again.
        let after = logits(model)
        let again = try AutoModelForCausalLM.fromPretrained(base)
        let opened = try PeftModel.fromPretrained(again, directory, trainable: true)
        expectClose(logits(again), after, absolute: 1e-6)
        try opened.beginTraining(updates: 3)
        step(opened, 1, of: 3)
        try opened.savePretrained(directory + "/more")
        let more = try JSON.read(path: directory + "/more/adapter_config.json")
        #expect(more["rank_pattern"] == json["rank_pattern"])
      }
    }
  }

  /// PEFT fails where the budget is the initial one.
  @Test func withoutBudgetNothingIsMasked() throws {
    try withModel { _, model in
      let peft = try PeftModel(
        model, AdaLoRAConfig(targetRank: 3, initialRank: 3, targetModules: .names(["q_proj"])))
      disturb(peft)
      try peft.beginTraining(updates: 2)
      for number in 1...2 { step(peft, number, of: 2) }
      #expect(ranksLeft(peft) == 6)
    }
  }

  /// Rows of zeros are as far from orthonormal as the identity is long.
  @Test func penaltyByHand() throws {
    try withModel { _, model in
      var config = AdaLoRAConfig(
        targetRank: 2, initialRank: 4, targetModules: .names(["q_proj", "v_proj"]))
      config.orthogonality = 0.3
      let peft = try PeftModel(model, config)
      withoutGradients {
        for (_, parameter) in peft.adapterParameters() { parameter.value.fillInPlace(0) }
      }
      // Of 2 x 4 matrices, seven are zero and one, of a single row of length 2, is [3] off once.
      let a = try tensor(peft, query + "lora_A")
      withoutGradients { _ = a.selected(0, 1).selected(0, 5).fillInPlace(2) }
      let expected = 0.3 * (7 * 2 + (9.0 + 3).squareRoot()) / 8
      #expect(abs(try #require(peft.penalty()).item() - expected) < 1e-6)
    }
  }

  @Test func schedulesThatDoNotFit() throws {
    try withModel { _, model in
      var config = AdaLoRAConfig(
        targetRank: 2, initialRank: 4, targetModules: .names(["q_proj"]))
      (config.initialSteps, config.finalSteps) = (30, 20)
      let peft = try PeftModel(model, config)
      #expect {
        try peft.beginTraining(updates: 50)
      } throws: { error in
        ["tinit + tfinal", "30 + 20", "50 updates"].allSatisfy("\(error)".contains)
      }
      try peft.beginTraining(updates: 51)
      config.totalSteps = 1000
      try peft.addAdapter("long", config)
      try peft.setAdapter(["long"], trainable: true)
      #expect {
        try peft.beginTraining(updates: 51)
      } throws: { error in
        ["total_step is 1000", "51"].allSatisfy("\(error)".contains)
      }
    }
  }

  /// Rows that are multiples of one of three directions make three groups.
  @Test func groupsOfOutputs() throws {
    try withModel { _, model in
      let path = "model.layers.0.self_attn.q_proj.weight"
      let weight = try #require(model.parameters().first { $0.path == path }).parameter
      let groups = [0, 1, 2, 1, 1, 0, 2, 2, 0, 0, 1, 2, 0, 2, 1, 1]
      let directions = Tensor.randomNormal([3, 16], generator: Generator(seed: 4))
      let noise = Tensor.randomNormal([16, 16], generator: Generator(seed: 5))
      weight.value = directions.selecting(0, Tensor(groups)) + noise * 1e-3
      let peft = try PeftModel(
        model,
        AdamssConfig(
          rank: 3, subspaceCount: 3, subspaceRank: 2, targetModules: .pattern(".*0.*q_proj")))
      let places = try tensor(peft, query + "adamss_scatter_index").array(of: Int.self)
      var first = 0
      for index in 0..<3 {
        let b = try tensor(peft, query + "adamss_B.\(index)")
        let outputs = places[first..<first + b.size(0)]
        #expect(outputs.sorted() == Array(outputs))
        #expect(Set(outputs.map { groups[$0] }).count == 1, "\(outputs)")
        first += b.size(0)
        // Orthonormal rows.
        let a = try tensor(peft, query + "adamss_A.\(index)")
        expectClose(a.matrixProduct(a.transposed()), .identity(2), absolute: 1e-5)
      }
      #expect(first == 16)
    }
  }

  /// Without the order of the outputs, as PEFT writes files, they are found again from the same weight;
  /// with it the weight may have changed.
  @Test func filesWithAndWithoutTheOrder() throws {
    try withModel { directory, model in
      let config = AdamssConfig(
        rank: 4, subspaceCount: 3, subspaceRank: 2, targetModules: .names(["q_proj", "up_proj"]))
      let peft = try PeftModel(model, config)
      disturb(peft)
      let adapted = logits(model)
      try peft.savePretrained(directory + "/adapter")
      let path = directory + "/adapter/adapter_model.safetensors"
      let tensors = try SafetensorsFile(path: path).tensors()
      try peft.savePretrained(directory + "/plain")
      try SafetensorsWriter.save(
        directory + "/plain/adapter_model.safetensors",
        tensors: tensors.filter { !$0.name.hasSuffix("adamss_scatter_index") })
      func opened(_ name: String, seed: UInt64 = 1) throws -> Tensor {
        var other = TinyModel()
        other.seed = seed
        try other.write(to: directory + "/other")
        let base = try AutoModelForCausalLM.fromPretrained(directory + "/other")
        _ = try PeftModel.fromPretrained(base, directory + "/" + name)
        return logits(base)
      }
      #expect(try opened("adapter").isEqual(to: adapted))
      #expect(try opened("plain").isEqual(to: adapted))
      _ = try opened("adapter", seed: 2)
      #expect {
        _ = try opened("plain", seed: 2)
      } throws: { error in
        ["adamss_B of model.layers.0", "k-means"].allSatisfy("\(error)".contains)
      }
    }
  }

  /// PEFT trains one subspace less.
  @Test func exactlyTheTargetIsTrained() throws {
    try withModel { _, model in
      var config = AdamssConfig(
        rank: 6, subspaceCount: 4, targetModules: .names(["q_proj", "up_proj"]))
      config.usesAllocation = true
      (config.asaTarget, config.asaStart, config.asaEnd, config.asaInterval) = (5, 1, 7, 2)
      let peft = try PeftModel(model, config)
      disturb(peft)
      try peft.beginTraining(updates: 8)
      var left: [Int] = []
      var before: [String: Tensor] = [:]
      for number in 1...8 {
        step(peft, number, of: 8)
        left.append(peft.trainableParameters.count { $0.key.contains("adamss_A") })
        #expect(
          left.last == peft.trainableParameters.count { $0.key.contains("adamss_B") })
        // What is frozen stays as it is.
        let frozen = peft.adapterParameters().filter { !$0.parameter.isTrainable }
        for (key, parameter) in frozen {
          if let value = before[key] { #expect(parameter.value.isEqual(to: value), "\(key)") }
          before[key] = parameter.value.cloned()
        }
      }
      // 5 + 11 (1 - (done - 1) / 6)^3 of 16 when 2, 4 and 6 updates are done before one.
      #expect(left == [16, 16, 11, 11, 6, 6, 5, 5])
      config.asaEnd = 8
      try peft.addAdapter("long", config)
      try peft.setAdapter(["long"], trainable: true)
      #expect {
        try peft.beginTraining(updates: 8)
      } throws: { error in
        ["final_warmup is 8", "8 updates"].allSatisfy("\(error)".contains)
      }
    }
  }
}
