import Adapters
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// What adapters add to a weight, against formulas written out element by element.
@Suite struct DeltasTests {
  private let path = "model.layers.0.self_attn.q_proj"

  private func weight(_ model: DecoderForCausalLM, _ path: String? = nil) throws -> Tensor {
    let name = (path ?? self.path) + ".weight"
    return try #require(model.parameters().first { $0.path == name }).parameter.value.cloned()
  }

  /// D of the first query projection, with some of its tensors set.
  private func delta(
    _ configuration: any AdapterConfiguration, _ tensors: [String: Tensor] = [:],
    _ change: (inout TinyModel) -> Void = { _ in }
  ) throws -> [[Double]] {
    let model = try tinyModel(TinyModel(change))
    let before = try weight(model)
    let peft = try PeftModel(model, configuration)
    let own = Dictionary(
      uniqueKeysWithValues: peft.adapterParameters().map { ($0.key, $0.parameter) })
    for (name, tensor) in tensors {
      let parameter = try #require(own["base_model.model.\(path).\(name)"])
      try #require(parameter.value.shape == tensor.shape)
      parameter.value = tensor
    }
    let difference = try weight(try peft.mergeAndUnload()) - before
    let flat = difference.array(of: Double.self)
    let columns = difference.size(1)
    return stride(from: 0, to: flat.count, by: columns).map { Array(flat[$0..<$0 + columns]) }
  }

  private func expectDelta(
    _ found: [[Double]], _ formula: (_ o: Int, _ j: Int) -> Double,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    var (worst, largest) = (0.0, 0.0)
    for (o, row) in found.enumerated() {
      for (j, value) in row.enumerated() {
        worst = max(worst, abs(value - formula(o, j)))
        largest = max(largest, abs(value))
      }
    }
    #expect(largest > 1e-3, sourceLocation: sourceLocation)
    #expect(worst < 2e-6 * max(1, largest), sourceLocation: sourceLocation)
  }

  private func random(_ shape: [Int], seed: UInt64 = 1) -> (Tensor, (Int...) -> Double) {
    let tensor = Tensor.randomNormal(shape, generator: Generator(seed: seed))
    let flat = tensor.array(of: Double.self)
    return (
      tensor,
      { indices in flat[zip(indices, shape).reduce(0) { $0 * $1.1 + $1.0 }] }
    )
  }

  @Test func loHa() throws {
    var config = LoHaConfig()
    (config.rank, config.alpha, config.targetModules) = (2, 3, .names(["q_proj"]))
    let (a1, f1) = random([16, 2])
    let (b1, g1) = random([2, 16], seed: 2)
    let (a2, f2) = random([16, 2], seed: 3)
    let (b2, g2) = random([2, 16], seed: 4)
    let found = try delta(
      config, ["hada_w1_a": a1, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2])
    expectDelta(found) { o, j in
      let first = (0..<2).reduce(0) { $0 + f1(o, $1) * g1($1, j) }
      let second = (0..<2).reduce(0) { $0 + f2(o, $1) * g2($1, j) }
      return first * second * 1.5
    }
  }

  @Test func loKr() throws {
    var config = LoKrConfig()
    (config.rank, config.alpha, config.targetModules) = (8, 4, .names(["q_proj"]))
    config.decomposeFactor = 2
    let (w1, first) = random([2, 2])
    let (w2, second) = random([8, 8], seed: 2)
    expectDelta(try delta(config, ["lokr_w1": w1, "lokr_w2": w2])) { o, j in
      first(o / 8, j / 8) * second(o % 8, j % 8) * 0.5
    }
  }

  @Test func missWithARemainder() throws {
    var config = MissConfig()
    (config.rank, config.targetModules) = (5, .names(["q_proj"]))
    let (block, value) = random([5, 16])
    expectDelta(try delta(config, ["miss_block": block])) { o, j in value(j % 5, o) }
    config.variant = .mini
    config.miniRank = 4
    let (small, share) = random([5, 4])
    expectDelta(try delta(config, ["miss_block": small])) { o, j in share(j % 5, o % 4) }
  }

  @Test func missBat() throws {
    var config = MissConfig()
    (config.rank, config.targetModules, config.variant) = (4, .names(["q_proj"]), .bat)
    let flat = try weight(try tinyModel()).array(of: Double.self)
    let (block, value) = random([4, 4, 4])
    expectDelta(try delta(config, ["miss_block": block])) { o, j in
      (0..<4).reduce(value(o / 4, o % 4, j % 4)) { sum, k in
        sum + flat[o * 16 + j / 4 * 4 + k] * value(o / 4, k, j % 4)
      }
    }
  }

  @Test func c3a() throws {
    var config = C3AConfig()
    (config.blockSize, config.targetModules) = (8, .names(["q_proj"]))
    let (kernel, value) = random([2, 2, 8])
    expectDelta(try delta(config, ["c3a_kernel": kernel])) { o, j in
      value(o / 8, j / 8, (j % 8 - o % 8 + 8) % 8) / 16
    }
  }

  /// The places are those of torch: its randperm(256) from seed 777 starts with 103 and 15.
  @Test func fourierFT() throws {
    var config = FourierFTConfig()
    (config.frequencyCount, config.scaling) = (2, 30)
    config.targetModules = .names(["q_proj"])
    let found = try delta(config, ["fourierft_spectrum": Tensor([2, -3] as [Float])])
    expectDelta(found) { o, j in
      [(2.0, 103), (-3.0, 15)].reduce(0) { sum, wave in
        let turns = Double(wave.1 / 16 * o + wave.1 % 16 * j) / 16
        return sum + wave.0 * cosine(2 * .pi * turns) * 30 / 256
      }
    }
  }

  private func cosine(_ x: Double) -> Double { Tensor([x]).cosine().item() }

  /// A Haar coefficient adds half of itself to a square of four elements, with the signs of its band.
  @Test func waveFTWithHaar() throws {
    var config = WaveFTConfig()
    (config.frequencyCount, config.scaling) = (4, 2)
    config.targetModules = .names(["q_proj"])
    let numbers = [1, 2, 3, 4] as [Double]
    let found = try delta(config, ["waveft_spectrum": Tensor(numbers.map { Float($0) })])
    // Rows and columns of the places 103, 15, 197 and 254.
    let places = [(6, 7), (0, 15), (12, 5), (15, 14)]
    expectDelta(found) { o, j in
      zip(numbers, places).reduce(0) { sum, entry in
        let (value, (row, column)) = entry
        guard o / 2 == row % 8, j / 2 == column % 8 else { return sum }
        // The right half is what changes down, the lower half what changes across.
        let down = column >= 8 && o % 2 == 1 ? -1.0 : 1
        let across = row >= 8 && j % 2 == 1 ? -1.0 : 1
        return sum + value * down * across
      }
    }
  }

  /// Far from the edges the basis of an orthogonal wavelet is orthonormal; PEFT's coif4 is not, and is
  /// kept as it is, while its coif5, which fails there, is the real one here.
  @Test(
    arguments: [
      ("db1", 1e-5), ("db6", 1e-5), ("sym3", 1e-5), ("sym10", 1e-5), ("coif2", 1e-5),
      ("coif3", 1e-5), ("coif5", 1e-5), ("coif4", 0.2),
    ])
  func waveletsAreOrthonormal(_ name: String, _ tolerance: Double) throws {
    var config = WaveFTConfig()
    (config.frequencyCount, config.scaling, config.wavelet) = (400, 1, name)
    (config.targetModules, config.locationSeed) = (.names(["q_proj"]), 3)
    let size = 160
    let chosen = Tensor.randomPermutation(size * size, generator: Generator(seed: 3))
      .narrowed(0, 0..<400).array(of: Int.self)
    // In the middle of a band: what it adds lies within the weight.
    func isInside(_ place: Int) -> Bool { (26..<54).contains(place % 80) }
    let inside = chosen.indices.filter {
      isInside(chosen[$0] / size) && isInside(chosen[$0] % size)
    }
    try #require(inside.count > 20)
    var values = [Float](repeating: 0, count: 400)
    for (rank, index) in inside.enumerated() { values[index] = Float(rank % 7) - 3.5 }
    let found = try delta(config, ["waveft_spectrum": Tensor(values)]) { tiny in
      (tiny.hiddenSize, tiny.layerCount) = (size, 1)
    }
    let energy = found.joined().reduce(0) { $0 + $1 * $1 }
    let wanted = values.reduce(0) { $0 + Double($1 * $1) }
    #expect(abs(energy / wanted - 1) < tolerance, "\(energy / wanted)")
    if name == "coif4" { #expect(abs(energy / wanted - 1) > 1e-3) }
  }

  @Test func deLoRA() throws {
    var config = DeloraConfig()
    (config.rank, config.targetModules) = (3, .names(["q_proj"]))
    let (a, f) = random([3, 16])
    let (b, g) = random([16, 3], seed: 2)
    let flat = try weight(try tinyModel()).array(of: Double.self)
    func norm(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    let found = try delta(
      config, ["delora_A": a, "delora_B": b, "delora_lambda": Tensor([6.0]).to(.float32)])
    expectDelta(found) { o, j in
      let length = norm((0..<16).map { flat[$0 * 16 + j] })
      return (0..<3).reduce(0) { sum, i in
        let lengths = norm((0..<16).map { f(i, $0) }) * norm((0..<16).map { g($0, i) })
        return sum + 2 * g(o, i) * f(i, j) / lengths * length
      }
    }
  }

  @Test func graLoRA() throws {
    var config = GraloraConfig()
    (config.rank, config.alpha, config.blockCount) = (4, 10, 2)
    (config.hybridRank, config.targetModules) = (1, .names(["q_proj"]))
    let (a, f) = random([2, 8, 4])
    let (b, g) = random([2, 4, 8], seed: 2)
    let (c, h) = random([1, 16], seed: 3)
    let (d, k) = random([16, 1], seed: 4)
    let found = try delta(
      config,
      [
        "gralora_A": a, "gralora_B": b, "gralora_A_general.weight": c,
        "gralora_B_general.weight": d,
      ])
    expectDelta(found) { o, j in
      let (row, column) = (o / 8, j / 8)
      let block = (0..<2).reduce(0) { sum, s in
        sum + f(column, j % 8, row * 2 + s) * g(row, column * 2 + s, o % 8)
      }
      return 2 * (block + k(o, 0) * h(0, j))
    }
  }

  @Test func hiRA() throws {
    var config = HiraConfig()
    (config.rank, config.targetModules) = (2, .names(["q_proj"]))
    let (a, f) = random([2, 16])
    let (b, g) = random([16, 2], seed: 2)
    let flat = try weight(try tinyModel()).array(of: Double.self)
    expectDelta(try delta(config, ["hira_A": a, "hira_B": b])) { o, j in
      flat[o * 16 + j] * (0..<2).reduce(0) { $0 + g(o, $1) * f($1, j) }
    }
  }

  @Test func peanut() throws {
    var config = PeanutConfig()
    (config.rank, config.depth, config.scaling) = (2, 1, 0.5)
    config.targetModules = .names(["q_proj"])
    let (a, f) = random([2, 16])
    let (b, g) = random([16, 2], seed: 2)
    let (encoder, e) = random([2, 2], seed: 3)
    let (decoder, d) = random([2, 2], seed: 4)
    let flat = try weight(try tinyModel()).array(of: Double.self)
    let found = try delta(
      config,
      [
        "peanut_A.weight": a, "peanut_B.weight": b, "peanut_encoders.0.weight": encoder,
        "peanut_decoders.0.weight": decoder,
      ])
    expectDelta(found) { o, j in
      func layer(_ factor: (Int...) -> Double, _ input: [Double]) -> [Double] {
        (0..<2).map { i in max(0, (0..<2).reduce(0) { $0 + factor(i, $1) * input[$1] }) }
      }
      let first = (0..<2).map { i in
        max(0, (0..<16).reduce(0) { $0 + f(i, $1) * flat[$1 * 16 + j] })
      }
      let last = zip(layer(d, layer(e, first)), first).map { $0 + $1 }
      return 0.5 * (g(o, 0) * last[0] + g(o, 1) * last[1])
    }
  }
}
