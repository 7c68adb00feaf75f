import Adapters
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Methods that scale, rotate or replace what a layer has, beyond what every method must do.
@Suite struct RotationsTests {
  private let batch = sixTokens

  /// One layer, y = x W^T + b in float64, with an adapter whose tensors are set by their last names.
  private func layer(
    _ weight: [[Double]], bias: [Double]? = nil, _ configuration: any AdapterConfiguration,
    _ values: [String: [Double]] = [:]
  ) throws -> PeftModel<OneLayer<Linear>> {
    let weight = Tensor(weight.flatMap { $0 }, shape: [weight.count, weight[0].count])
    let model = OneLayer(
      Linear(weight: weight, bias: bias.map { Tensor($0, shape: [$0.count]) }))
    let peft = try PeftModel(model, configuration)
    for (key, parameter) in peft.adapterParameters() {
      for (name, numbers) in values where key.hasSuffix(name) {
        parameter.value = Tensor(numbers, shape: parameter.value.shape)
      }
    }
    return peft
  }

  private func expectOutput(
    _ peft: PeftModel<OneLayer<Linear>>, _ x: [Double], _ expected: [Double],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let x = Tensor(x, shape: [1, x.count])
    let expected = Tensor(expected, shape: [1, expected.count])
    expectClose(
      withoutGradients { peft.base.layer(x) }, expected, absolute: 1e-9,
      sourceLocation: sourceLocation)
    try peft.mergeAdapter()
    expectClose(
      withoutGradients { peft.base.layer(x) }, expected, absolute: 1e-9,
      sourceLocation: sourceLocation)
  }

  @Test func ia3ScalesOutputsWithTheirBias() throws {
    let targets = TargetModules.names(["layer"])
    let outputs = IA3Config(targetModules: targets, feedforwardModules: .names([]))
    try expectOutput(
      try layer([[1, 2], [3, 4]], bias: [1, -1], outputs, ["ia3_l": [2, 0.5]]), [1, 1], [8, 3])
    let inputs = IA3Config(targetModules: targets, feedforwardModules: targets)
    try expectOutput(
      try layer([[1, 2], [3, 4]], bias: [1, -1], inputs, ["ia3_l": [2, 0.5]]), [1, 1], [4, 7])
  }

  @Test func roAdTurnsPairsOfAGroup() throws {
    // Outputs 0 and 2 are a pair, as are 1 and 3; a quarter turn of the first, doubled.
    let config = RoAdConfig(groupSize: 4, targetModules: .names(["layer"]))
    let unit: [[Double]] = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    try expectOutput(
      try layer(
        unit, bias: [1, 0, 0, 0], config,
        ["road_theta": [.pi / 2, 0], "road_alpha": [2, 1]]), [1, 2, 3, 4], [-6, 2, 4, 4])
  }

  @Test func hraReflects() throws {
    // The reflection at the line orthogonal to (1, 1) exchanges and turns round both inputs.
    let config = HRAConfig(rank: 1, targetModules: .names(["layer"]))
    try expectOutput(try layer([[1, 0], [0, 1]], config, ["hra_u": [3, 3]]), [1, 2], [-2, -1])
    // W H1 H2: x meets H2 first.
    let two = HRAConfig(rank: 2, targetModules: .names(["layer"]))
    try expectOutput(
      try layer([[1, 0], [0, 1]], two, ["hra_u": [3, 1, 3, 0]]), [1, 2], [-2, 1])
  }

  @Test func oftTurnsOppositelyByBothFormulas() throws {
    // tan(t / 2) = 1 / 2: the exact rotation has cos t = 3 / 5 and sin t = 4 / 5.
    var exact = OFTConfig(blockSize: 2, targetModules: .names(["layer"]))
    exact.usesSeries = false
    let unit: [[Double]] = [[1, 0], [0, 1]]
    try expectOutput(try layer(unit, exact, ["oft_R.weight": [0.5]]), [1, 0], [0.6, -0.8])
    // I + 2 Q + 2 Q^2 + 2 Q^3 + Q^4 with Q^2 = -I / 4.
    let series = OFTConfig(blockSize: 2, targetModules: .names(["layer"]))
    try expectOutput(
      try layer(unit, series, ["oft_R.weight": [0.5]]), [1, 0], [0.5625, 0.75])
  }

  @Test func oftBlockSizesMoveToTheNextDivisor() throws {
    for (size, stored) in [(7, 6), (5, 4), (11, 12), (100, 24), (24, 24)] {
      let config = OFTConfig(blockSize: size, targetModules: .names(["layer"]))
      let row = [Double](repeating: 1, count: 24)
      let found = try layer([row], config).adapterParameters().first?.parameter.value.shape
      #expect(found == [24 / stored, stored * (stored - 1) / 2], "\(size)")
    }
  }

  @Test func constrainedOFTStaysNearTheIdentity() throws {
    var config = OFTConfig(blockSize: 2, targetModules: .names(["layer"]))
    config.isConstrained = true
    config.eps = 0.1
    let peft = try layer(
      [[1, 0, 0, 0]], config, ["oft_R.weight": [3, 0.001]])
    _ = withoutGradients { peft.base.layer(Tensor([1, 2, 3, 4] as [Double], shape: [1, 4])) }
    let values = try #require(peft.adapterParameters().first?.parameter.value)
    // Norm sqrt 2 |q| of the first is eps / sqrt 2 for two blocks; the second is shorter.
    expectClose(values, Tensor([0.05, 0.001], shape: [2, 1]), absolute: 1e-12)
  }

  @Test func butterflyDealsHalfBlocks() throws {
    // Blocks of 2 inputs: of each 4 inputs, those with even numbers and then those with odd ones.
    var config = BOFTConfig(blockSize: 2, factorCount: 2, targetModules: .names(["layer"]))
    config.hasStandardInitialization = false
    let unit = (0..<4).map { row in (0..<4).map { row == $0 ? 1.0 : 0 } }
    // Q = [[0, 1], [-1, 0]] is a quarter turn: (u, v) becomes (v, -u) in rows times R.
    let quarter: [Double] = [0, 1, -1, 0]
    let none = [Double](repeating: 0, count: 4)
    let second = try layer(
      unit, bias: [1, 1, 1, 1], config,
      ["boft_R": none + none + quarter + none, "boft_s": [2, 1, 1, 1]])
    // Inputs 0 and 2 are the first block of the second factor; the bias is not scaled.
    try expectOutput(second, [1, 2, 3, 4], [7, 3, 0, 5])
  }

  @Test func butterflyFactorsAreMadeAndKept() throws {
    try withModel { _, model in
      let config = BOFTConfig(blockSize: 2, factorCount: 3, targetModules: .names(["q_proj"]))
      let peft = try PeftModel(model, config)
      #expect(peft.adapterParameters().first?.parameter.value.shape == [3, 8, 2, 2])
    }
  }

  @Test func gloraChangesWeightAndBias() throws {
    let config = GLoRAConfig(
      weightForm: .vector, inputForm: .vector, biasForm: .constant,
      targetModules: .names(["layer"]))
    // W + W a + b = [[4, 6], [5, 7]]; bias 10 + 10 * 2 + 3 + W (1, -1).
    try expectOutput(
      try layer(
        [[1, 2], [3, 5]], bias: [10, 20], config,
        [
          "A.X": [1, 0.5], "B.X": [2, 0.5], "C.X": [1, -1], "D.X": [2], "E.X": [3],
        ]), [1, 1], [4 + 6 + 32, 5 + 8 + 61])
  }

  @Test func deftTakesOutAndPutsIn() throws {
    // Q is the first output: its row is replaced by s R.
    var config = DEFTConfig(rank: 1, decomposition: .qr, targetModules: .names(["layer"]))
    config.alpha = 2
    let first: [String: [Double]] = ["deft_P": [-7, 0], "deft_R": [1, 4]]
    // An orthonormal basis has either sign; that of QR here is (1, 0) times -1 times -1.
    let model = try layer([[1, 2], [3, 4]], bias: [5, 5], config, first)
    try expectOutput(model, [1, 1], [5 + 2 * 5, 12])
    config.onlyRemoves = true
    try expectOutput(
      try layer([[1, 2], [3, 4]], bias: [5, 5], config, first), [1, 1], [5, 12])
    config.onlyRemoves = false
    config.decomposition = .relu
    // P = (2, -1): W - P (2, 0) W + 2 P R.
    try expectOutput(
      try layer(
        [[1, 2], [3, 4]], config, ["deft_P": [2, -1], "deft_R": [1, 4]]), [1, 1],
      [3 - 12 + 20, 7 + 6 - 10])
  }

  @Test func osfGradientsKeepOutOfTheKeptSubspace() throws {
    // Singular values 3, 2, 1 along the axes of 3 outputs and 4 inputs; one is kept.
    let config = OSFConfig(keptRank: .count(1), targetModules: .names(["layer"]))
    let peft = try layer([[3, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0]], config)
    let x = Tensor([1, 2, 3, 4, -2, 1, 5, 3] as [Double], shape: [2, 4])
    let y = peft.base.layer(x)
    (y * y).sum().backward()
    for (key, parameter) in peft.trainableParameters {
      let gradient = try #require(parameter.value.gradient)
      #expect(gradient.absolute().max().item() > 1)
      // U's first row and V's first column belong to the kept direction.
      switch key.split(separator: ".").last {
      case "U_low": #expect(gradient.narrowed(0, 0..<1).absolute().max().item() < 1e-9)
      case "V_low": #expect(gradient.narrowed(1, 0..<1).absolute().max().item() < 1e-9)
      default: #expect(gradient.shape == [2])
      }
    }
  }

  @Test func psoftTurnsTheLeadingSubspace() throws {
    var config = PSOFTConfig(rank: 2, alpha: 6, targetModules: .names(["layer"]))
    let weight: [[Double]] = [[3, 0, 0], [0, 2, 0], [0, 0, 1]]
    // Scales alone do not depend on the signs of singular vectors.
    try expectOutput(
      try layer(weight, config, ["vector_a": [2, 1], "vector_b": [1, 5]]), [1, 1, 1], [6, 10, 1])
    config.split = .symmetric
    try expectOutput(
      try layer(weight, config, ["vector_a": [2, 1], "vector_b": [1, 5]]), [1, 1, 1], [6, 10, 1])
  }

  @Test func aSeedGivesTheSameSubspace() throws {
    func output(_ seed: Int) throws -> Tensor {
      let model = try tinyModel()
      var config = PSOFTConfig(rank: 4, targetModules: .allLinear)
      config.decomposition = .lowrank
      config.iterations = 0
      config.seed = seed
      let peft = try PeftModel(model, config, seed: 11)
      for (_, parameter) in peft.adapterParameters() {
        withoutGradients { _ = parameter.value.addInPlace(0.5) }
      }
      return logits(model)
    }
    let (one, same, other) = (try output(3), try output(3), try output(4))
    #expect(one.isEqual(to: same) && !one.isEqual(to: other))
  }

  @Test func adaptersOfOneLayerAreNestedAsMerged() throws {
    let rotations = OFTConfig(blockSize: 8, targetModules: .allLinear)
    let all: [any AdapterConfiguration] = [
      rotations, HRAConfig(rank: 3, targetModules: .allLinear),
      BOFTConfig(blockSize: 4, factorCount: 2, targetModules: .allLinear),
      LoRAConfig(rank: 4, targetModules: .allLinear),
      RoAdConfig(groupSize: 8, targetModules: .allLinear),
      IA3Config(targetModules: .allLinear, feedforwardModules: .names(["up_proj"])), rotations,
      DEFTConfig(rank: 2, targetModules: .allLinear),
    ]
    try withModel { _, model in
      let peft = try PeftModel(model, all[0], adapterName: "0")
      for (index, configuration) in all.enumerated().dropFirst() {
        try peft.addAdapter("\(index)", configuration, seed: UInt64(index))
      }
      let generator = Generator(seed: 4)
      for index in all.indices {
        for (_, parameter) in peft.adapterParameters("\(index)") {
          let noise = Tensor.randomNormal(parameter.value.shape, generator: generator)
          withoutGradients { _ = parameter.value.addInPlace(noise, scale: 0.1) }
        }
      }
      try peft.setAdapter(all.indices.map(String.init))
      let apart = logits(model)
      try peft.mergeAdapter()
      expectClose(logits(model), apart, absolute: 2e-5)
    }
  }

  /// Adapters may be of half precision; what has no half-precision product is computed in float32.
  @Test(arguments: ContractCases.rotations) func halfPrecisionAdapters(
    _ sample: ContractCase
  ) throws {
    try withModel { _, model in
      let peft = try PeftModel(model, sample.configuration, dtype: .bfloat16)
      for (key, parameter) in peft.adapterParameters() {
        #expect(parameter.value.dtype == (sample.hasBaseType ? .float32 : .bfloat16), "\(key)")
      }
      model.summedLoss(batch, labels: batch.ids).backward()
      for (key, parameter) in peft.trainableParameters {
        #expect(parameter.value.gradient?.isAllFinite == true, "\(key)")
      }
      guard sample.mergeError != nil else { return }
      let apart = logits(model)
      try peft.mergeAdapter()
      expectClose(logits(model), apart, absolute: 1e-3)
    }
  }

  @Test func defaultsOfFilesAreNamed() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, IA3Config())
      let config = try #require(peft.configurations.first?.configuration as? IA3Config)
      #expect(config.feedforwardModules == .names(["down_proj"]))
      #expect(
        Set(peft.adapterParameters().map { $0.parameter.value.shape })
          == [[8, 1], [1, 24]])
    }
    try withModel { _, model in
      let peft = try PeftModel(model, IA3Config(targetModules: .names(["q_proj", "up_proj"])))
      let config = try #require(peft.configurations.first?.configuration as? IA3Config)
      #expect(config.feedforwardModules == .names([]))
    }
    try withModel { _, model in
      let peft = try PeftModel(model, LNTuningConfig())
      #expect(peft.adapterParameters().count == 5)
    }
    try withModel { _, model in
      let peft = try PeftModel(model, OSFConfig())
      #expect(peft.adapterParameters().count == 2 * 7 * 3)
    }
  }
}
