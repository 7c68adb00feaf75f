import Adapters
import JSONValues
import Layers
import Models
import Quantization
import TestSupport
import Tensors
import Testing

/// Starts that are found from data or from a quantised base; numbers of PEFT's from
/// scripts/goldens/lora_starts.py.
@Suite struct CalibrationTests {
  private final class Root: Module {
    let layers: [(name: String, module: any Module)]
    init(_ layers: [(String, Linear)]) { self.layers = layers.map { ($0.0, $0.1) } }
    var children: [(name: String, module: any Module)] { layers }
  }

  private func goldens() throws -> Goldens {
    try Goldens(testDirectory() + "/Fixtures/lora-starts.safetensors")
  }

  private func config(_ start: LoRAConfig.Initialization, _ names: [String] = ["linear"])
    -> LoRAConfig
  {
    var config = LoRAConfig(rank: 3, alpha: 6, targetModules: .names(names))
    config.initialization = start
    return config
  }

  /// A and B after calibration on the golden batches.
  private func factors(_ config: LoRAConfig) throws -> (a: Tensor, b: Tensor) {
    let golden = try goldens()
    let layer = Linear(weight: golden["weight"])
    let peft = try PeftModel(Root([("linear", layer)]), config)
    try peft.calibrate(
      (0..<3).map { index in
        CalibrationBatch { (layer(golden["x.\(index)"]) * golden["slope.\(index)"]).sum() }
      })
    let own = peft.adapterParameters()
    func value(_ name: String) throws -> Tensor {
      try #require(own.first { $0.key.hasSuffix(name) }).parameter.value.detached()
    }
    // The base lacks what the adapter starts with.
    expectClose(
      layer(golden["x.0"]).detached(), golden["x.0"].linear(golden["weight"]), absolute: 1e-4)
    #expect(peft.trainableParameters.count == 2)
    #expect(peft.trainableParameters.allSatisfy { $0.parameter.value.gradient == nil })
    return (try value("lora_A.weight"), try value("lora_B.weight"))
  }

  @Test(arguments: CorDAConfig.Mode.allCases) func corda(_ mode: CorDAConfig.Mode) throws {
    var config = config(.corda)
    config.corda = CorDAConfig()
    config.corda?.mode = mode
    let expected = try goldens()["corda.\(mode.rawValue)"]
    let (a, b) = try factors(config)
    expectClose(b.matrixProduct(a), expected, absolute: 2e-4)
  }

  @Test(arguments: [
    (LoRAGAConfig.Direction.alternating, LoRAGAConfig.Scale.stable), (.secondHalfForA, .stable),
    (.firstHalfForA, .stable), (.alternating, .weightSVD), (.alternating, .gradientDescent),
    (.alternating, .unit),
  ]) func loraGA(_ direction: LoRAGAConfig.Direction, _ scale: LoRAGAConfig.Scale) throws {
    var config = config(.loraGA)
    var settings = LoRAGAConfig()
    (settings.direction, settings.scale) = (direction, scale)
    config.loraGA = settings
    let expected = try goldens()["lora_ga.\(direction.rawValue).\(scale.rawValue)"]
    let (a, b) = try factors(config)
    let squares = [a.transposed().matrixProduct(a), b.matrixProduct(b.transposed())]
    expectClose(
      Tensor.concatenated(squares.map { $0.reshaped([-1]) }), expected, absolute: 1e-4,
      // PEFT estimates W's largest singular value from r random directions.
      relative: scale == .weightSVD ? 0.1 : 1e-3)
  }

  @Test(arguments: [false, true]) func eva(_ whitens: Bool) throws {
    let golden = try goldens()
    let (first, second) = (
      Linear(weight: golden["weight"].cloned()), Linear(weight: golden["weight"].cloned())
    )
    var config = config(.eva, ["first", "second"])
    var settings = EVAConfig()
    (settings.whitens, settings.tau) = (whitens, 0.999)
    config.eva = settings
    let root = Root([("first", first), ("second", second)])
    let peft = try PeftModel(root, config)
    try peft.calibrate(
      (0..<3).map { index in
        CalibrationBatch { (first(golden["x.\(index)"]) + second(golden["flat.\(index)"])).sum() }
      })
    let found = try #require(peft.configurations.first?.configuration as? LoRAConfig)
    for name in ["first", "second"] {
      let settings = golden["eva.\(whitens).\(name).rank_scale"].array(of: Float.self)
      let a = try #require(
        peft.adapterParameters().first { $0.key.contains(name) && $0.key.contains("lora_A") }
      ).parameter.value.detached()
      #expect(a.shape == [Int(settings[0]), 12])
      #expect(found.rankPattern.first { $0.pattern == "^" + name }?.value ?? 3 == a.size(0))
      #expect(Float(try found.scale(ofLayer: name, rank: a.size(0))) == settings[1])
      expectClose(
        a.transposed().matrixProduct(a), golden["eva.\(whitens).\(name)"], absolute: 1e-2)
    }
    #expect(peft.trainableParameters.count == 4)
    try withTemporaryDirectory { directory in
      try peft.savePretrained(directory)
      let json = try JSON.read(path: directory + "/adapter_config.json")
      #expect(json["init_lora_weights"] == "eva" && json["eva_config"]?["rho"] == 2.0)
      let other = Root([
        ("first", Linear(weight: golden["weight"])), ("second", Linear(weight: golden["weight"])),
      ])
      let opened = try PeftModel.fromPretrained(other, directory)
      #expect(opened.adapterParameters().map(\.key) == peft.adapterParameters().map(\.key))
    }
  }

  /// A layer whose inputs explain nothing new gets no rank and loses its adapter.
  @Test func evaTakesAdaptersAway() throws {
    let golden = try goldens()
    let (first, second) = (
      Linear(weight: golden["weight"].cloned()), Linear(weight: golden["weight"].cloned())
    )
    var config = config(.eva, ["first", "second"])
    config.rank = 1
    config.eva = EVAConfig()
    // In "flat" one direction explains nearly all; the first two of "x" explain less.
    let root = Root([("first", first), ("second", second)])
    let peft = try PeftModel(root, config)
    let constant = Tensor.ones([24, 12])
    try peft.calibrate([
      CalibrationBatch { (first(golden["x.0"]) + second(constant)).sum() },
      CalibrationBatch { (first(golden["x.1"]) + second(constant)).sum() },
    ])
    #expect(second.projection is DenseProjection)
    #expect(peft.adapterParameters().allSatisfy { $0.key.contains("first") })
    let found = try #require(peft.configurations.first?.configuration as? LoRAConfig)
    #expect(found.targetModules == .names(["first"]))
    #expect(found.rankPattern == [PathPattern("^first", 2)])
  }

  @Test func whatCannotBeCalibratedIsRefused() throws {
    let golden = try goldens()
    func refuses(
      _ config: LoRAConfig, _ word: String, rows: Int? = 24,
      _ location: SourceLocation = #_sourceLocation
    ) throws {
      let layer = Linear(weight: golden["weight"])
      let x = golden["x.0"].narrowed(0, 0..<(rows ?? 24))
      let batch = CalibrationBatch { layer(x).sum() }
      #expect(sourceLocation: location) {
        try PeftModel(Root([("linear", layer)]), config).calibrate(rows == nil ? [] : [batch])
      } throws: {
        "\($0)".contains(word)
      }
    }
    try refuses(config(.pissa), "calibrated")
    try refuses(config(.eva), "at least one", rows: nil)
    try refuses(config(.eva), "at least 6 positions for linear", rows: 5)
    var large = config(.loraGA)
    large.rank = 6
    try refuses(large, "at most 5")
    var odd = config(.eva)
    odd.eva = EVAConfig()
    odd.eva?.rho = 0.5
    try refuses(odd, "eva_config.rho")
    for (key, value, words): (String, JSON, [String]) in [
      ("corda_config", ["corda_method": "both"], ["corda_method", "both", "ipm, kpm"]),
      ("lora_ga_config", ["direction": "up"], ["direction", "up", "ArBr"]),
      ("eva_config", ["rhoo": 2], ["eva_config", "rhoo"]),
      ("loftq_config", ["loftq_bits": 3], ["loftq_config.loftq_bits", "3", "4 or 8"]),
    ] {
      expectRefusal(parts: words) {
        try LoRAConfig(
          json: .object(JSONObject([("peft_type", "LORA"), (key, value)])), path: "x")
      }
    }
  }

  /// s B A is the best approximation of what quantising lost, whatever the scale.
  @Test func loftQMakesUpForQuantising() throws {
    let w = try goldens()["weight"].tiled([7, 6]) + Tensor.arange(0, 72).to(.float32) * 1e-3
    for iterations in [1, 4] {
      let quantized = Linear(DenseProjection(weight: Parameter(w)))
      quantized.projection = WeightFormat.fourBit(.nf4, blockSize: 64, doubleQuantization: false)
        .projection(w, bias: nil)
      let plain = (w - quantized.projection.denseWeight()).norm().item()
      let best = (w - quantized.projection.denseWeight()).singularValueDecomposition().s
        .narrowed(0, 3..<70).norm().item()
      var config = config(.loftq)
      config.alpha = 12
      config.loftQ = LoftQConfig()
      config.loftQ?.iterations = iterations
      let peft = try PeftModel(Root([("linear", quantized)]), config)
      try peft.startLoftQ { _ in w }
      let identity = Tensor.identity(72)
      let found = (w.transposed() - quantized(identity).detached()).norm().item()
      #expect(iterations > 1 || abs(found - best) < 1e-3 * best)
      #expect(found < plain && (iterations == 1 || found <= best * 1.001))
      try withTemporaryDirectory { directory in
        try peft.savePretrained(directory)
        let json = try JSON.read(path: directory + "/adapter_config.json")
        #expect(json["init_lora_weights"] == true && json["loftq_config"] == [:])
      }
      #expect(throws: AdapterError.self) {
        try PeftModel(Root([("linear", Linear(weight: w))]), config).startLoftQ { _ in w }
      }
    }
  }
}
