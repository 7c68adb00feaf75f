import CKernels
import Layers
import Tensors
import TestSupport
import Testing

/// The head's gradient with most of it in few bits is the plain one, but for roundings that are bounded.
@Suite struct LossProductsTests {
  static func normal(_ shape: [Int], seed: UInt64, scale: Double = 1) -> Tensor {
    Tensor.randomNormal(shape, generator: Generator(seed: seed)) * scale
  }

  static func relativeError(_ found: Tensor, _ expected: Tensor) -> Double {
    let (found, expected) = (found.to(.float64), expected.to(.float64))
    return ((found - expected).norm() / expected.norm()).item()
  }

  /// Loss and gradient of rows whose scores have about the deviation `sharpness`.
  static func run(
    _ products: LossProducts, rows: Range<Int> = 0..<61, words: Int = 7001, size: Int = 96,
    sharpness: Double = 3, fused: Bool = true
  ) -> (loss: Float, gradient: Tensor) {
    // These weights are no bfloat16 numbers.
    let w = normal([words, size], seed: 2)
    let all = (0..<61).map { Int64($0 % 9 == 4 ? ignoredLabel : $0 * 131 % words) }
    let x = normal([61, size], seed: 1, scale: sharpness / Double(size).squareRoot())
      .narrowed(0, rows).cloned()
    x.requiresGradient = true
    let loss = linearCrossEntropy(
      x, weight: w, labels: Tensor(Array(all[rows])), fused: fused, products: products)
    loss.backward()
    return (loss.array(of: Float.self)[0], x.gradient ?? x)
  }

  /// From even shares to rows that one word has nearly alone.
  @Test(
    .enabled(if: BFloat16Rows.isSupported), arguments: [0.05, 1, 3, 8])
  func largeSharesAreExact(_ sharpness: Double) {
    let plain = Self.run(.float32, sharpness: sharpness, fused: false)
    let exact = Self.run(.float32, sharpness: sharpness)
    let split = Self.run(.roundedRest, sharpness: sharpness)
    let rounded = Self.run(.bfloat16, sharpness: sharpness)
    #expect(split.loss == exact.loss)
    #expect(abs(split.loss - plain.loss) <= 2e-6 * plain.loss)
    #expect(Self.relativeError(split.gradient, plain.gradient) < 1e-5)
    #expect(
      Self.relativeError(split.gradient, plain.gradient)
        < 0.1 * Self.relativeError(rounded.gradient, plain.gradient))
    // Rows without a label.
    #expect(split.gradient.selecting(0, Tensor([Int64(4), 13])).norm().item() == 0)
  }

  /// With as many words all shares are small, and they are rounded.
  @Test(.enabled(if: BFloat16Rows.isSupported)) func evenSharesOfManyWords() {
    let plain = Self.run(.float32, words: 30_000, size: 40, sharpness: 0.05, fused: false)
    let split = Self.run(.roundedRest, words: 30_000, size: 40, sharpness: 0.05)
    let error = Self.relativeError(split.gradient, plain.gradient)
    // Both factors are rounded, each by 2^-9 / sqrt(3) on average, in 30,000 terms.
    #expect(error > 1e-7 && error < 1.5e-5)
  }

  /// Neighbouring rows and the number of them change no bit.
  @Test(
    .enabled(if: Tensor.hasFloat32Kernel),
    arguments: [LossProducts.roundedRest, .bfloat16, .float32])
  func rowsAreIndependent(_ products: LossProducts) {
    func gradient(_ rows: Range<Int>) -> Tensor {
      Runtime.withFastProducts { Self.run(products, rows: rows).gradient }
    }
    let all = gradient(0..<61)
    for rows in [0..<1, 3..<31, 31..<61] {
      let some = gradient(rows)
      #expect(some.isEqual(to: all.narrowed(0, rows)))
    }
  }

  @Test func noRowHasALabel() {
    let x = Self.normal([3, 8], seed: 1)
    x.requiresGradient = true
    let loss = linearCrossEntropy(
      x, weight: Self.normal([50, 8], seed: 2), labels: Tensor([Int64](repeating: -100, count: 3)),
      fused: true, products: .roundedRest)
    loss.backward()
    #expect(loss.item() == 0 && x.gradient?.norm().item() == 0)
  }

  @Test func sharesAreSplit() {
    let (rows, size) = (3, 53)
    var shares = (0..<rows * size).map { Float(($0 * 37) % 101 + 1) / 101 }
    (shares[5], shares[60]) = (.nan, 1.7e-38)
    let sums: [Double] = [2, 0.5, 300]
    var rest = [UInt16](repeating: 7, count: shares.count)
    var large = [UInt16](repeating: 0xFFFF, count: rows * 4)
    graft_split_shares(shares, sums, 0.25, Int64(size), 0, Int64(rows), &rest, &large)
    let rounded = Tensor(shares).to(.bfloat16).to(.float32).array(of: Float.self)
    for (i, share) in shares.enumerated() {
      let (row, word) = (i / size, i % size)
      let isLarge = Double(share) >= 0.25 * sums[row]
      #expect((large[row * 4 + word / 16] >> (word % 16) & 1 == 1) == isLarge)
      let found = Float(bitPattern: UInt32(rest[i]) << 16)
      #expect(share.isNaN ? found.isNaN : found == (isLarge ? 0 : rounded[i]))
    }
    #expect(large[3] >> 5 == 0)
  }

  @Test(arguments: [7, 16, 250, 576]) func largeSharesAreAdded(_ depth: Int) {
    let (rows, size) = (5, 530)
    let shares = Self.normal([rows, size], seed: 1).array(of: Float.self)
    let weight = Self.normal([size, depth], seed: 2)
    let before = Self.normal([rows, depth], seed: 3)
    let numbers = weight.array(of: Float.self)
    var large = [UInt16](repeating: 0, count: rows * 34)
    var chosen = [Float](repeating: 0, count: shares.count)
    for i in shares.indices where i % 7 == 0 || i % 530 < 20 || i > 4 * size {
      large[i / size * 34 + i % size / 16] |= 1 << UInt16(i % size % 16)
      chosen[i] = shares[i]
    }
    let expected =
      before.to(.float64)
      + Tensor(chosen, shape: [rows, size]).to(.float64).matrixProduct(weight.to(.float64))
    var first: [Float]?
    withEachInstructionSet {
      var sum = before.array(of: Float.self)
      graft_add_large_shares(
        shares, large, Int64(size), numbers, Int64(depth), 0, Int64(rows), &sum)
      expectClose(
        Tensor(sum, shape: [rows, depth]).to(.float64), expected, absolute: 5e-5, relative: 1e-5)
      #expect(sum == first ?? sum)
      first = sum
    }
  }
}
