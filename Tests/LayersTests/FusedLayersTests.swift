import CKernels
import Foundation
import Layers
import Tensors
import TestSupport
import Testing

/// Fused layers are their plain compositions to the last digits, forward and backward.
@Suite struct FusedLayersTests {
  static func normal(_ shape: [Int], seed: UInt64, scale: Double = 1) -> Tensor {
    Tensor.randomNormal(shape, generator: Generator(seed: seed)) * scale
  }

  static func norm(_ size: Int, weighting: RMSNorm.Weighting) -> RMSNorm {
    RMSNorm(
      weight: Parameter(normal([size], seed: 9) + 1.0), epsilon: 1e-5, weighting: weighting)
  }

  /// Layers `size` to each of `widths`, the odd ones with a bias, with an update but for the last.
  static func layers(
    _ size: Int, _ widths: [Int], rank: Int = 3, dropout: Double = 0, generator: Generator? = nil
  ) -> [ExplicitProjection] {
    widths.enumerated().map { index, width in
      let seed = UInt64(10 * index)
      let bias = index % 2 == 1 ? Parameter(normal([width], seed: seed + 1)) : nil
      let base = DenseProjection(
        weight: Parameter(normal([width, size], seed: seed + 2, scale: 0.3)), bias: bias)
      guard index < widths.count - 1 || widths.count == 1 else {
        return ExplicitProjection(base: base)
      }
      let (a, b) = (
        normal([rank, size], seed: seed + 3, scale: 0.3),
        normal([width, rank], seed: seed + 4, scale: 0.3)
      )
      a.requiresGradient = true
      b.requiresGradient = true
      return ExplicitProjection(
        base: base,
        update: LowRankTerm(a: a, b: b, scale: 1.5, dropout: dropout, generator: generator))
    }
  }

  static func plain(_ x: Tensor, _ part: ExplicitProjection) -> Tensor {
    let y = part.base(x)
    return part.update.map {
      let seen = x.dropout($0.dropout, generator: $0.generator)
      return y + seen.linear($0.a).linear($0.b) * $0.scale
    } ?? y
  }

  static func trained(_ parts: [ExplicitProjection]) -> [Tensor] {
    parts.flatMap { $0.update.map { [$0.a, $0.b] } ?? [] }
  }

  func expectSame(_ found: [Tensor], _ expected: [Tensor], limit: Double = 1e-5) {
    #expect(found.count == expected.count)
    for (a, b) in zip(found, expected) {
      #expect(a.shape == b.shape)
      func largest(_ x: Tensor) -> Float { x.array(of: Float.self).map(abs).max() ?? 0 }
      #expect(largest(a - b) <= Float(limit) * largest(b), "\(a.shape)")
    }
  }

  static func products<Result>(_ fast: Bool, _ body: () -> Result) -> Result {
    fast ? Runtime.withFastProducts(body) : body()
  }

  /// With a rotation by LibTorch's products, without by our kernel.
  @Test(arguments: [RMSNorm.Weighting.cast, .wide, .wideOffset], [true, false])
  func projectionsEqualTheirComposition(weighting: RMSNorm.Weighting, turns: Bool) throws {
    // Sizes that are no multiples of the kernels' lanes; not all of a head is turned.
    let (size, headSize) = (37, 12)
    let x = Self.normal([2, 5, size], seed: 1)
    let norm = Self.norm(size, weighting: weighting)
    let parts = Self.layers(size, [36, 24, 24])
    let angles = Self.normal([turns ? 2 : 1, 1, 5, 4], seed: 2)
    let both = Tensor.concatenated([angles, angles], dimension: -1)
    let rotation = FusedRotation(
      cosine: both.cosine(), sine: both.sine(), headSize: headSize, layers: 0..<2)
    let trained = Self.trained(parts)
    let fused = Self.products(!turns) {
      outputsAndGradients(x, trained) {
        fusedProjections($0, norm: norm, parts, rotation: turns ? rotation : nil)?.outputs ?? []
      }
    }
    let expected = outputsAndGradients(x, trained) { x in
      let normalized = norm(x)
      return parts.enumerated().map { index, part in
        let y = Self.plain(normalized, part)
        guard turns, index < 2 else { return y }
        let heads = y.reshaped([2, 5, -1, headSize]).transposed(1, 2)
        return rotated(heads, cosine: rotation.cosine, sine: rotation.sine).transposed(1, 2)
          .reshaped(y.shape)
      }
    }
    expectSame(fused, expected)
  }

  /// By LibTorch's products and by our kernel.
  @Test(arguments: [false, true], [false, true])
  func gatedPerceptronEqualsItsComposition(fast: Bool, addsInput: Bool) {
    let (size, inner) = (21, 43)
    let x = Self.normal([3, 4, size], seed: 3)
    let norm = Self.norm(size, weighting: .cast)
    let first = Self.layers(size, [inner, inner, 1])
    let down = Self.layers(inner, [size])
    let trained = Self.trained(Array(first.prefix(2)) + down)
    let fused = Self.products(fast) {
      outputsAndGradients(x, trained) {
        [
          fusedGatedMLP(
            $0, norm: norm, gate: first[0], up: first[1], down: down[0], addsInput: addsInput)
        ].compactMap { $0 }
      }
    }
    let expected = outputsAndGradients(x, trained) { x in
      let normalized = norm(x)
      let product = Self.plain(normalized, first[0]).silu() * Self.plain(normalized, first[1])
      let own = Self.plain(product, down[0])
      return [addsInput ? x + own : own]
    }
    expectSame(fused, expected)
  }

  /// Each update drops elements of its own, those that its layer would have dropped.
  @Test func droppedElementsAreThoseOfTheLayers() {
    let size = 37
    let x = Self.normal([2, 5, size], seed: 1)
    let norm = Self.norm(size, weighting: .cast)
    func run(_ body: (Tensor, [ExplicitProjection]) -> [Tensor]) -> [Tensor] {
      let parts = Self.layers(
        size, [36, 24, 24, 8], dropout: 0.3, generator: Generator(seed: 5))
      return outputsAndGradients(x, Self.trained(parts)) { body($0, parts) }
    }
    let fused = run { fusedProjections($0, norm: norm, $1, rotation: nil)?.outputs ?? [] }
    let expected = run { x, parts in
      let normalized = norm(x)
      return parts.map { Self.plain(normalized, $0) }
    }
    expectSame(fused, expected)
    let others = outputsAndGradients(x, []) { x in
      Self.layers(size, [36, 24, 24, 8]).map { Self.plain(norm(x), $0) }
    }
    #expect((others[0] - expected[0]).array(of: Float.self).contains { abs($0) > 1e-2 })
  }

  /// Outputs that nobody uses and an input that needs no gradient cost nothing and break nothing.
  @Test func partsOfTheGradientMayBeMissing() throws {
    let norm = Self.norm(8, weighting: .cast)
    let parts = Self.layers(8, [6, 6, 6])
    let x = Self.normal([1, 3, 8], seed: 4)
    let outputs = try #require(fusedProjections(x, norm: norm, parts, rotation: nil)).outputs
    let found = outputs[1].sum().gradients(of: Self.trained(parts))
    let expected = Self.plain(norm(x), parts[1]).sum().gradients(of: Self.trained(parts))
    #expect(found.map { $0 == nil } == expected.map { $0 == nil })
    expectSame(found.compactMap { $0 }, expected.compactMap { $0 })
  }

  /// The gradient of what goes past the norm is added, with one of the layers' or alone.
  @Test(arguments: [false, true]) func inputGoesPastTheProjections(alone: Bool) throws {
    let norm = Self.norm(21, weighting: .cast)
    let parts = Self.layers(21, [6, 9])
    let x = Self.normal([2, 3, 21], seed: 4)
    let found = outputsAndGradients(x, alone ? [] : Self.trained(parts)) { x in
      guard let all = fusedProjections(x, norm: norm, parts, rotation: nil) else { return [] }
      return (alone ? [] : all.outputs) + [all.input * 2]
    }
    let expected = outputsAndGradients(x, alone ? [] : Self.trained(parts)) { x in
      (alone ? [] : parts.map { Self.plain(norm(x), $0) }) + [x * 2]
    }
    expectSame(found, expected)
  }

  /// With and without what the outputs are added to, by LibTorch's products and by our kernel.
  @Test(arguments: [false, true], [false, true])
  func outputEqualsItsComposition(fast: Bool, adds: Bool) {
    let layer = Self.layers(21, [37])[0]
    let x = Self.normal([2, 5, 21], seed: 1)
    let widening = Self.normal([37, 21], seed: 2)
    func residual(_ x: Tensor) -> Tensor? { adds ? x.linear(widening) : nil }
    let found = Self.products(fast) {
      outputsAndGradients(x, Self.trained([layer])) { x in
        [fusedOutput(x, layer, addedTo: residual(x))].compactMap { $0 }
      }
    }
    let expected = outputsAndGradients(x, Self.trained([layer])) { x in
      let own = Self.plain(x, layer)
      return [residual(x).map { $0 + own } ?? own]
    }
    expectSame(found, expected)
    #expect(fusedOutput(x.to(.float64), layer, addedTo: nil) == nil)
  }

  @Test func whatCannotBeFusedIsLeftToTheLayers() {
    let parts = Self.layers(8, [6])
    let x = Self.normal([1, 3, 8], seed: 4)
    let trained = Self.norm(8, weighting: .cast)
    trained.weight.isTrainable = true
    #expect(fusedProjections(x, norm: trained, parts, rotation: nil) == nil)
    let norm = Self.norm(8, weighting: .cast)
    #expect(fusedProjections(x.to(.float64), norm: norm, parts, rotation: nil) == nil)
    let other = LayerNorm(weight: norm.weight, bias: nil, epsilon: 1e-5)
    #expect(fusedProjections(x, norm: other, parts, rotation: nil) == nil)
    let base = DenseProjection(weight: Parameter(Self.normal([6, 8], seed: 5)))
    #expect(base.explicitForm != nil)
    base.weight.isTrainable = true
    #expect(base.explicitForm == nil)
  }

  @Test func crossEntropyEqualsItsComposition() {
    let hidden = Self.normal([10, 6], seed: 1)
    let weight = Self.normal([37, 6], seed: 2, scale: 3)
    let labels = Tensor([0, 3, -100, 36, 1, -100, 2, 2, 5, 4] as [Int64])
    func run(_ fused: Bool) -> [Tensor] {
      outputsAndGradients(hidden, []) {
        [linearCrossEntropy($0, weight: weight, labels: labels, chunkRows: 3, fused: fused)]
      }
    }
    expectSame(run(true), run(false))
  }

  /// More words than one part holds; the largest score of a row is in any of them.
  @Test func crossEntropyIsTakenInParts() {
    let hidden = Self.normal([7, 6], seed: 1)
    let weight = Self.normal([9001, 6], seed: 2, scale: 3)
    let labels = Tensor([0, 9000, 4096, 4095, 5000, -100, 8192] as [Int64])
    func run(_ fused: Bool) -> [Tensor] {
      outputsAndGradients(hidden, []) {
        [linearCrossEntropy($0, weight: weight, labels: labels, fused: fused)]
      }
    }
    expectSame(run(true), run(false))
  }

  @Test func exponentialIsWithinTwoUnits() {
    let x = (0..<40_000).map { Float(-86.9 + Double($0) * (174.8 / 40_000)) }
    var y = [Float](repeating: 0, count: x.count)
    graft_exponential(x, 0, Int64(x.count), &y)
    for (x, y) in zip(x, y) {
      let exact = exp(Double(x))
      let unit = Double(Float(exact).ulp)
      if abs(Double(y) - exact) > 2 * unit {
        Issue.record("e^\(x) is \(exact), not \(y)")
        return
      }
    }
    var ends: [Float] = [-.infinity, -200, 200, .nan]
    graft_exponential(ends, 0, 4, &ends)
    #expect(ends[0] < 2e-38 && ends[1] < 2e-38 && ends[2] > 1e38 && ends[3].isNaN)
  }

  @Test func everyInstructionSetGivesTheSameBits() {
    let (rows, size) = (5, 83)
    let x = Self.normal([rows, size], seed: 1).array(of: Float.self)
    let g = Self.normal([rows, size], seed: 2).array(of: Float.self)
    let w = Self.normal([size], seed: 3).array(of: Float.self)
    let labels: [Int64] = [3, 82, 0, 17, 17]
    var first: [[Float]]?
    withEachInstructionSet {
      var (a, b, c, d) = (x, x, x, x)
      var (scale, losses, factors) = (
        [Float](repeating: 0, count: rows), [Float](repeating: 0, count: rows),
        [Float](repeating: 0, count: rows)
      )
      let all = Int64(rows * size)
      graft_swiglu(x, g, 0, all, &a)
      graft_swiglu_backward(x, g, x, 0, all, &b, &c)
      graft_rms_norm(x, w, 1e-5, Int64(size), 0, Int64(rows), &d, &scale)
      var back = g
      graft_rms_norm_backward(x, w, scale, g, nil, Int64(size), 0, Int64(rows), &back)
      var sum = g
      graft_rms_norm_backward(x, w, scale, g, x, Int64(size), 0, Int64(rows), &sum)
      #expect(sum == zip(back, x).map { $0 + $1 })
      var (shares, short) = (x, [UInt16](repeating: 0, count: x.count))
      var (top, answers) = ([Float](repeating: -.infinity, count: rows), losses)
      var sums = [Double](repeating: 0, count: rows)
      graft_cross_entropy_block(
        x, labels, 0, Int64(size), &shares, &short, 0, Int64(rows), &top, &sums, &answers,
        &factors)
      graft_cross_entropy_end(top, sums, answers, 0, Int64(rows), &losses, &factors)
      let wide = short.map(Self.widened)
      expectRoundedHalvesAreWidened(x, g)
      let found = [a, b, c, d, scale, back, shares, wide, top, answers, losses, factors]
      #expect(zip(shares, wide).allSatisfy { abs($0 - $1) <= $0 / 256 })
      #expect(found == first ?? found)
      first = found
    }
  }

  /// What reads gate and up in bfloat16 computes what it does of their numbers.
  func expectRoundedHalvesAreWidened(_ x: [Float], _ g: [Float]) {
    let count = Int64(x.count)
    var (product, gate, up) = (
      x, [UInt16](repeating: 0, count: x.count), [UInt16](repeating: 0, count: x.count)
    )
    graft_swiglu_rounding(x, g, 0, count, &product, &gate, &up)
    let (wideGate, wideUp) = (gate.map(Self.widened), up.map(Self.widened))
    var (found, expected) = (x, x)
    graft_swiglu_of_rounded(gate, up, 0, count, &found)
    graft_swiglu(wideGate, wideUp, 0, count, &expected)
    #expect(found == expected && found != product)
    var (foundUp, expectedUp) = (x, x)
    graft_swiglu_backward_of_rounded(gate, up, g, 0, count, &found, &foundUp)
    graft_swiglu_backward(wideGate, wideUp, g, 0, count, &expected, &expectedUp)
    #expect(found == expected && foundUp == expectedUp)
  }

  static func widened(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }
}
