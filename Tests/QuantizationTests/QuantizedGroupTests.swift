import Layers
import Quantization
import Tensors
import TestSupport
import Testing

/// Groups of quantised layers are the layers one by one, and fused layers over them their compositions.
@Suite struct QuantizedGroupTests {
  static func normal(_ shape: [Int], seed: UInt64, scale: Double = 1) -> Tensor {
    Tensor.randomNormal(shape, generator: Generator(seed: seed)) * scale
  }

  static func relativeError(_ found: Tensor, _ expected: Tensor) -> Double {
    ((found - expected).norm() / expected.norm()).item()
  }

  /// Depths that are no multiples of the kernels' steps, parts of a panel, more rows than one part.
  @Test(arguments: [[3, 40, 7], [9, 67, 70], [101, 64, 130]], [0.0, 6])
  func outputsOfAGroup(_ shape: [Int], threshold: Double) throws {
    let (rows, size, width) = (shape[0], shape[1], shape[2])
    let x = Self.normal([rows, size], seed: 1, scale: 2)
    let layers = [width, 5].enumerated().map { index, width in
      Linear8bit(
        quantizing: Self.normal([width, size], seed: UInt64(2 + index)),
        bias: index == 0 ? Parameter(Self.normal([width], seed: 4)) : nil, threshold: threshold)
    }
    // Of five columns, three are the left factor.
    let narrow = Self.normal([rows, 5], seed: 5)
    let factor = Self.normal([3, width], seed: 6)
    let group: any GroupedProjection = layers[0]
    let term = NarrowTerm(rows: narrow, columns: 1..<4, factor: factor)
    var first: [Tensor]?
    try withEachInstructionSet {
      let found = try #require(group.outputs(x, of: layers, adding: [term, nil], into: nil))
      let expected = layers[0](x) + narrow.narrowed(1, 1..<4).matrixProduct(factor)
      expectClose(found[0], expected, absolute: 1e-5, relative: 1e-5)
      #expect(found[1].isEqual(to: layers[1](x)))
      // The same to the last bit, whatever the processor.
      #expect(first.map { $0[0].isEqual(to: found[0]) } ?? true)
      first = first ?? found
    }
  }

  /// A group that multiplies in bfloat16 is its layers one by one, near those in float32.
  @Test(.enabled(if: BFloat16Rows.isSupported)) func outputsInBFloat16() throws {
    let x = Self.normal([37, 128], seed: 1)
    let layers = [70, 33].enumerated().map { index, width in
      Linear4bit(
        quantizing: Self.normal([width, 128], seed: UInt64(2 + index)),
        bias: index == 0 ? Parameter(Self.normal([width], seed: 4)) : nil)
    }
    let exact = layers.map { $0(x) }
    let group: any GroupedProjection = layers[0]
    #expect(group.outputs(x, of: layers, adding: [nil, nil], into: nil) == nil)
    for layer in layers { layer.productType = .bfloat16 }
    let term = NarrowTerm(
      rows: Self.normal([37, 3], seed: 5), columns: 0..<3, factor: Self.normal([3, 33], seed: 6))
    let found = try #require(group.outputs(x, of: layers, adding: [nil, term], into: nil))
    #expect(found[0].isEqual(to: layers[0](x)))
    expectClose(
      found[1], layers[1](x) + term.rows.matrixProduct(term.factor), absolute: 1e-4,
      relative: 1e-5)
    let error = Self.relativeError(found[0], exact[0])
    #expect(error > 1e-5 && error < 5e-3)
    // Few rows are computed from the codes, as ever; another test may change the instruction set meanwhile.
    let one = x.narrowed(0, 0..<1)
    let plain = Linear4bit(weight: layers[0].weight, bias: layers[0].bias)
    expectClose(layers[0](one), plain(one), absolute: 1e-4, relative: 1e-5)
  }

  /// A group that multiplies whole numbers is its layers one by one, near those in float32.
  @Test func outputsInWholeNumbers() throws {
    let x = Self.normal([37, 128], seed: 1)
    // A column of outliers, which is multiplied in float32.
    x.narrowed(1, 5..<6).multiplyInPlace(20)
    let layers = [70, 33].enumerated().map { index, width in
      Linear4bit(
        quantizing: Self.normal([width, 128], seed: UInt64(2 + index)),
        bias: index == 0 ? Parameter(Self.normal([width], seed: 4)) : nil)
    }
    let exact = layers.map { $0(x) }
    for layer in layers { layer.productType = .int8 }
    let group: any GroupedProjection = layers[0]
    let term = NarrowTerm(
      rows: Self.normal([37, 3], seed: 5), columns: 0..<3, factor: Self.normal([3, 33], seed: 6))
    var first: [Tensor]?
    try withEachInstructionSet {
      let found = try #require(group.outputs(x, of: layers, adding: [nil, term], into: nil))
      #expect(found[0].isEqual(to: layers[0](x)))
      expectClose(
        found[1], layers[1](x) + term.rows.matrixProduct(term.factor), absolute: 1e-4,
        relative: 1e-5)
      let error = Self.relativeError(found[0], exact[0])
      #expect(error > 1e-4 && error < 0.015, "\(error)")
      #expect(first.map { $0[0].isEqual(to: found[0]) } ?? true)
      first = first ?? found
    }
    // Few rows are computed from the codes, as ever; another test may change the instruction set meanwhile.
    let one = x.narrowed(0, 0..<1)
    let plain = Linear4bit(weight: layers[0].weight, bias: layers[0].bias)
    expectClose(layers[0](one), plain(one), absolute: 1e-4, relative: 1e-5)
  }

  static func layer(_ format: WeightFormat, _ width: Int, _ size: Int, seed: UInt64)
    -> any LinearProjection
  {
    format.projection(normal([width, size], seed: seed, scale: 0.1))
  }

  static let formats: [WeightFormat] = [
    .int8(threshold: 6), .fourBit(.nf4, blockSize: 64, doubleQuantization: false),
    .fourBit(.fp4, blockSize: 32, doubleQuantization: true),
  ]

  @Test(arguments: formats) func gradientsOfAGroup(_ format: WeightFormat) throws {
    let layers = [70, 33].enumerated().map {
      Self.layer(format, $0.element, 128, seed: UInt64($0.offset))
    }
    let gradients = layers.enumerated().map {
      Self.normal([13, $0.element.outputSize], seed: UInt64(5 + $0.offset))
    }
    let group = try #require(layers[0] as? any GroupedProjection)
    let (narrow, factor) = (Self.normal([13, 4], seed: 7), Self.normal([4, 128], seed: 8))
    let term = NarrowTerm(rows: narrow, columns: 0..<4, factor: factor)
    // Not where gradients are computed from decoded weights.
    #expect(group.pulledBack(gradients, of: layers, adding: term) == nil)
    let exact = zip(layers, gradients).map { $0.pulledBack($1) }
    for layer in layers { Linear(layer).setInputGradients(.int8) }
    var first: Tensor?
    try withEachInstructionSet {
      let found = try #require(group.pulledBack(gradients, of: layers, adding: term))
      let own = zip(layers, gradients).map { $0.pulledBack($1) }
      let expected = own[0] + own[1] + narrow.matrixProduct(factor)
      expectClose(found, expected, absolute: 1e-5, relative: 1e-5)
      for (own, exact) in zip(own, exact) { #expect(Self.relativeError(own, exact) < 0.02) }
      #expect(first.map { $0.isEqual(to: found) } ?? true)
      first = first ?? found
      // An output that nobody used.
      let second = try #require(group.pulledBack([nil, gradients[1]], of: layers, adding: nil))
      #expect(second.isEqual(to: own[1]))
    }
  }

  /// Codes of 4 bits become the nearest ones of 8 over the row's largest magnitude, also where blocks
  /// run across rows: seen by gradients of one element, which are quantised without an error.
  @Test(arguments: [FourBitType.nf4, .fp4], [(64, 192), (32, 96), (64, 80)])
  func rowsOfFourBitWeights(type: FourBitType, sizes: (block: Int, columns: Int)) {
    let weight = Self.normal([21, sizes.columns], seed: 3) * Self.normal([21, 1], seed: 4)
    let layer = Linear4bit(quantizing: weight, type: type, blockSize: sizes.block)
    let dense = layer.denseWeight()
    layer.inputGradient = .int8
    let limits = dense.absolute().max(1, keepDimension: true) * (1.001 / 254)
    withEachInstructionSet {
      let found = layer.pulledBack(Tensor.identity(21))
      #expect(((found - dense).absolute() - limits).max().item() <= 0)
    }
  }

  /// The bound of ``InputGradient/int8``.
  @Test func int8GradientsAreWithinTheirBound() {
    let layer = Linear8bit(quantizing: Self.normal([50, 70], seed: 1))
    let gradient = Self.normal([9, 50], seed: 2)
    let exact = gradient.to(.float64).matrixProduct(layer.denseWeight().to(.float64))
    layer.inputGradient = .int8
    let error = (layer.pulledBack(gradient).to(.float64) - exact).absolute()
    let largest = (gradient * layer.weight.scales).absolute().max(1, keepDimension: true)
    let sums = layer.weight.codes.to(.float32).absolute().sum([0]) * (1 / 127.0)
    let limits = (largest * sums * (1.001 / 254)).to(.float64)
    #expect((error - limits).max().item() <= 0)
    // And it is no empty bound.
    #expect(error.max().item() > 0.01 * limits.max().item())
  }

  // MARK: - Fused layers

  static func part(_ format: WeightFormat, _ width: Int, _ size: Int, seed: UInt64)
    -> ExplicitProjection
  {
    let (a, b) = (
      normal([3, size], seed: seed + 1, scale: 0.3), normal([width, 3], seed: seed + 2, scale: 0.3)
    )
    a.requiresGradient = true
    b.requiresGradient = true
    return ExplicitProjection(
      base: layer(format, width, size, seed: seed), update: LowRankTerm(a: a, b: b, scale: 1.5))
  }

  static func plain(_ x: Tensor, _ part: ExplicitProjection) -> Tensor {
    let y = part.base(x)
    return part.update.map { y + x.linear($0.a).linear($0.b) * $0.scale } ?? y
  }

  /// Outputs, and gradients of x and what is trained, of a weighted sum of the outputs.
  static func run(
    _ x: Tensor, _ parts: [ExplicitProjection], _ body: (Tensor) -> [Tensor]
  ) -> [Tensor] {
    let trained = parts.flatMap { $0.update.map { [$0.a, $0.b] } ?? [] }
    return outputsAndGradients(x, trained, body)
  }

  /// Largest distance relative to the 2-norm.
  ///
  /// Codes of 4 bits: float32 in another order. int8, and gradients in whole numbers: where the norm's
  /// or the gradient's last digit differs, a code may be one off; with gradients in whole numbers the
  /// outputs of gate and up are kept in bfloat16, 2^-9 of each.
  static func limit(_ format: WeightFormat, _ kind: InputGradient) -> Double {
    guard case .dequantized = kind else { return 4e-3 }
    return format.name == "int8" ? 2e-3 : 1e-5
  }

  @Test(arguments: formats, [false, true])
  func fusedLayersEqualTheirCompositions(format: WeightFormat, inWholeNumbers: Bool) throws {
    let (size, inner) = (64, 96)
    let x = Self.normal([2, 9, size], seed: 1)
    let norm = RMSNorm(
      weight: Parameter(Self.normal([size], seed: 9) + 1.0), epsilon: 1e-5, weighting: .wide)
    let attention = [64, 32, 32].enumerated().map {
      Self.part(format, $0.element, size, seed: UInt64(10 + 3 * $0.offset))
    }
    let mlp = [
      Self.part(format, inner, size, seed: 30), Self.part(format, inner, size, seed: 33),
      Self.part(format, size, inner, seed: 36),
    ]
    let kind = inWholeNumbers ? InputGradient.int8 : .dequantized
    for part in attention + mlp { Linear(part.base).setInputGradients(kind) }
    func expectSame(_ found: [Tensor], _ expected: [Tensor]) {
      #expect(found.count == expected.count)
      for (a, b) in zip(found, expected) {
        #expect(Self.relativeError(a, b) < Self.limit(format, kind), "\(a.shape)")
      }
    }
    expectSame(
      Self.run(x, attention) {
        fusedProjections($0, norm: norm, attention, rotation: nil)?.outputs ?? []
      },
      Self.run(x, attention) { x in attention.map { Self.plain(norm(x), $0) } })
    expectSame(
      Self.run(x, mlp) {
        [fusedGatedMLP($0, norm: norm, gate: mlp[0], up: mlp[1], down: mlp[2])].compactMap { $0 }
      },
      Self.run(x, mlp) { x in
        let read = norm(x)
        return [Self.plain(Self.plain(read, mlp[0]).silu() * Self.plain(read, mlp[1]), mlp[2])]
      })
  }

  /// Where one pass over a gradient's rows makes the codes, they are those that layers make by themselves.
  ///
  /// The gradients of a weighted sum do not depend on the outputs, so that everything is the same but for
  /// the order of float32 sums. One layer has no update, one output is not used.
  @Test(arguments: formats, [false, true])
  func passesOverRowsEqualProducts(format: WeightFormat, inWholeNumbers: Bool) throws {
    let size = 64
    let x = Self.normal([2, 83, size], seed: 1)
    let norm = RMSNorm(
      weight: Parameter(Self.normal([size], seed: 9) + 1.0), epsilon: 1e-5, weighting: .wide)
    var parts = [64, 32, 32, 48].enumerated().map {
      Self.part(format, $0.element, size, seed: UInt64(10 + 3 * $0.offset))
    }
    parts[1] = ExplicitProjection(base: parts[1].base)
    let kind = inWholeNumbers ? InputGradient.int8 : .dequantized
    for part in parts { Linear(part.base).setInputGradients(kind) }
    func run() -> [Tensor] {
      Self.run(x, parts) {
        let outputs = fusedProjections($0, norm: norm, parts, rotation: nil)?.outputs ?? []
        return Array(outputs.dropLast())
      }
    }
    let plain = run()
    let fast = Runtime.withFastProducts { run() }
    #expect(plain.count == fast.count && plain.count == 3 + 1 + 6)
    for (a, b) in zip(plain, fast) { expectClose(b, a, absolute: 2e-4, relative: 1e-5) }
    for (a, b) in zip(plain, fast) where a.count > 1 {
      #expect(Self.relativeError(b, a) < 1e-5, "\(a.shape)")
    }
  }
}
