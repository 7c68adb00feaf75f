import Layers
import Tensors
import TestSupport
import Testing

@Suite struct FunctionTests {
  static func input(_ shape: [Int], seed: UInt64) -> Tensor {
    Tensor.randomNormal(shape, dtype: .float64, generator: Generator(seed: seed))
  }

  @Test func `RMSNorm's derivative agrees with finite differences`() {
    expectGradientsMatchFiniteDifferences(of: [
      Self.input([2, 3, 5], seed: 1), Self.input([5], seed: 2),
    ]) { rmsNormalized($0[0], weight: $0[1], epsilon: 1e-5) }
  }

  @Test func `SwiGLU's derivative agrees with finite differences`() {
    expectGradientsMatchFiniteDifferences(of: [
      Self.input([2, 5], seed: 1), Self.input([2, 5], seed: 2),
    ]) { swiGLU(gate: $0[0], up: $0[1]) }
  }

  @Test(arguments: [6, 4]) func `rotation's derivative agrees with finite differences`(width: Int) {
    let angles = Self.input([1, 1, 3, width / 2], seed: 4)
    let both = Tensor.concatenated([angles, angles], dimension: -1)
    expectGradientsMatchFiniteDifferences(of: [Self.input([2, 2, 3, 6], seed: 3)]) {
      rotated($0[0], cosine: both.cosine(), sine: both.sine())
    }
  }

  @Test func `cross entropy of a head equals the one over whole logits`() {
    let hidden = Tensor.randomNormal([10, 6], generator: Generator(seed: 1))
    let weight = Tensor.randomNormal([7, 6], generator: Generator(seed: 2))
    let labels = Tensor([0, 3, -100, 6, 1, -100, 2, 2, 5, 4] as [Int64])
    hidden.requiresGradient = true
    weight.requiresGradient = true
    let loss = linearCrossEntropy(hidden, weight: weight, labels: labels, chunkRows: 3)
    (loss * 0.5).backward()
    let (found, foundWeight) = (hidden.gradient, weight.gradient)
    hidden.gradient = nil
    weight.gradient = nil
    let mask = (labels .!= -100).to(.float32)
    let logs = hidden.linear(weight).logSoftmax()
    let picked = logs.gathered(1, labels.clamped(lower: 0).to(.int64).unsqueezed(1)).reshaped([-1])
    let expected = -(picked * mask).sum()
    (expected * 0.5).backward()
    expectClose(loss, expected)
    expectClose(found ?? loss, hidden.gradient ?? loss)
    expectClose(foundWeight ?? loss, weight.gradient ?? loss)
  }

  @Test func `a product takes weights that are cut from wider ones`() {
    // Large enough for the library of fast products, which takes float32.
    let x = Self.input([64, 96], seed: 7).to(.float32)
    let wide = Self.input([128, 256], seed: 8).to(.float32)
    let cut = wide.narrowed(1, 0..<96)
    let whole = cut.contiguous()
    x.requiresGradient = true
    for weight in [cut, whole, whole.transposed().contiguous().transposed()] {
      x.gradient = nil
      let product = x.linear(weight)
      (product * product).sum().backward()
      let expected = x.detached().to(.float64).matrixProduct(whole.transposed().to(.float64))
      expectClose(product.detached().to(.float64), expected, absolute: 1e-4)
      let gradient = (expected * 2).matrixProduct(whole.to(.float64))
      expectClose((x.gradient ?? x).to(.float64), gradient, absolute: 1e-3)
    }
  }

  @Test func `a checkpointed part has the same values and gradients`() {
    let weight = Parameter(Self.input([4, 4], seed: 5))
    weight.isTrainable = true
    func part(_ x: Tensor) -> Tensor { x.linear(weight.value).tanh() }
    func run(_ apply: (Tensor) -> Tensor) -> (Tensor, Tensor?, Tensor?) {
      let x = Self.input([3, 4], seed: 6)
      x.requiresGradient = true
      weight.value.gradient = nil
      let y = apply(x)
      y.sum().backward()
      return (y, x.gradient, weight.value.gradient)
    }
    let plain = run(part)
    let saved = run { checkpointed([$0], parameters: [weight]) { [part($0[0])] }[0] }
    #expect(plain.0.isEqual(to: saved.0))
    expectClose(saved.1 ?? saved.0, plain.1 ?? plain.0)
    expectClose(saved.2 ?? saved.0, plain.2 ?? plain.0)
  }

  @Test func `a decoder's mask joins causality, padding, windows and documents`() {
    func visible(_ mask: AttentionMask) -> [Int] {
      (mask.visible ?? Tensor.ones([1])).to(.int64).array(of: Int.self)
    }
    #expect(AttentionMask.decoder(length: 4, keyLength: 4).isCausal)
    #expect(AttentionMask.decoder(length: 1, keyLength: 4).visible == nil)
    #expect(
      visible(.decoder(length: 3, keyLength: 3, window: 2)) == [1, 0, 0, 1, 1, 0, 0, 1, 1])
    let padding = Tensor([0, 1, 1] as [Int], shape: [1, 3])
    #expect(
      visible(.decoder(length: 3, keyLength: 3, keyMask: padding)) == [0, 0, 0, 0, 1, 0, 0, 1, 1])
    let documents = Tensor([1, 1, 2] as [Int], shape: [1, 3])
    #expect(
      visible(.decoder(length: 3, keyLength: 3, sequenceIDs: documents))
        == [1, 0, 0, 1, 1, 0, 0, 0, 1])
  }

  /// Padding on the left sees nothing: its output is zero, and neither output nor gradient is NaN.
  @Test func `a position that sees nothing is harmless`() throws {
    let generator = Generator(seed: 4)
    let mask = AttentionMask.decoder(
      length: 5, keyLength: 5, keyMask: Tensor([0, 0, 1, 1, 1] as [Int], shape: [1, 5]))
    let parts = (0..<3).map { _ in
      let part = Tensor.randomNormal([1, 2, 5, 8], generator: generator)
      part.requiresGradient = true
      return part
    }
    let mixed = Tensor.attention(
      query: parts[0], key: parts[1], value: parts[2], mask: mask.visible)
    expectClose(mixed.narrowed(2, 0..<2), Tensor.zeros([1, 2, 2, 8]), absolute: 0)
    (mixed * mixed).sum().backward()
    for part in parts {
      let gradient = try #require(part.gradient)
      #expect(gradient.isAllFinite)
    }
  }
}
