import CKernels
import Layers
import Tensors
import TestSupport
import Testing

/// Products in bfloat16 are the exact ones of the rounded factors, but for the rounding of float32 sums.
@Suite(.enabled(if: BFloat16Rows.isSupported)) struct BFloat16RowsTests {
  static func normal(_ shape: [Int], seed: UInt64) -> Tensor {
    Tensor.randomNormal(shape, generator: Generator(seed: seed))
  }

  static func rounded(_ x: Tensor) -> Tensor { x.to(.bfloat16).to(.float64) }

  @Test func roundsAsLibTorchDoes() {
    let x = Self.normal([7, 45], seed: 1) * 1e3
    #expect(BFloat16Rows(rounding: x).numbers.isEqual(to: x.to(.bfloat16)))
  }

  /// Odd depths, parts of a panel and of a tile, more rows than one part.
  @Test(arguments: [[1, 1, 1], [3, 40, 7], [9, 67, 70], [101, 64, 130], [200, 130, 192]])
  func byRows(_ shape: [Int]) {
    let (rows, depth, outputs) = (shape[0], shape[1], shape[2])
    let (x, w) = (Self.normal([rows, depth], seed: 1), Self.normal([outputs, depth], seed: 2))
    let (narrow, factor) = (Self.normal([rows, 5], seed: 3), Self.normal([3, outputs], seed: 4))
    let exact = Self.rounded(x).linear(Self.rounded(w))
    let found = BFloat16Rows(rounding: x).multiplied(byRowsOf: w)
    expectClose(found.to(.float64), exact, absolute: 1e-5, relative: 1e-5)

    // It makes no difference when the weight is rounded.
    let again = BFloat16Rows(rounding: x).multiplied(byRowsOf: w.to(.bfloat16))
    #expect(again.isEqual(to: found))

    let memory = Tensor.full([rows, outputs], .nan, dtype: .float32)
    let more = BFloat16Rows(rounding: x).multiplied(
      byRowsOf: w, adding: NarrowTerm(rows: narrow, columns: 1..<4, factor: factor), into: memory)
    let term = narrow.narrowed(1, 1..<4).to(.float64).matrixProduct(factor.to(.float64))
    expectClose(more.to(.float64), exact + term, absolute: 1e-5, relative: 1e-5)
    #expect(more.isEqual(to: memory))
  }

  @Test(arguments: [[1, 1, 1], [3, 40, 7], [9, 67, 70], [101, 64, 130], [200, 130, 192]])
  func byColumns(_ shape: [Int]) {
    let (rows, depth, outputs) = (shape[0], shape[1], shape[2])
    let (x, w) = (Self.normal([rows, depth], seed: 1), Self.normal([depth, outputs], seed: 2))
    let (before, scale) = (Self.normal([rows, outputs], seed: 3), Self.normal([rows], seed: 4))
    let exact = Self.rounded(x).matrixProduct(Self.rounded(w))
    let rows16 = BFloat16Rows(rounding: x)
    expectClose(
      rows16.multiplied(byColumnsOf: w).to(.float64), exact, absolute: 1e-5, relative: 1e-5)
    let sum = before.detached() * 1.0
    let found = rows16.multiplied(byColumnsOf: w, onto: (sum, rowScale: scale))
    let expected = exact + before.to(.float64) * scale.to(.float64).unsqueezed(1)
    expectClose(found.to(.float64), expected, absolute: 1e-5, relative: 1e-5)
  }

  /// What cannot be a number stays none, and infinity infinite.
  @Test func specialNumbers() {
    let x = Tensor([Float.nan, 1, .infinity, 2], shape: [2, 2])
    let ones = Tensor([Float(1), 1], shape: [1, 2])
    let found = BFloat16Rows(rounding: x).multiplied(byRowsOf: ones).array(of: Float.self)
    #expect(found[0].isNaN)
    #expect(found[1] == .infinity)
  }

  /// The loss and the gradient in bfloat16 are near those in float32: the products alone are rounded.
  @Test func crossEntropy() {
    let (count, depth, words) = (37, 96, 5000)
    let (w, labels) = (
      Self.normal([words, depth], seed: 2) * 0.3,
      Tensor((0..<count).map { Int64($0 * 131 % words) })
    )
    func run(_ products: LossProducts) -> (loss: Float, gradient: Tensor) {
      let x = Self.normal([count, depth], seed: 1)
      x.requiresGradient = true
      let loss = linearCrossEntropy(x, weight: w, labels: labels, fused: true, products: products)
      loss.backward()
      return (loss.array(of: Float.self)[0], x.gradient ?? x)
    }
    let (plain, short) = (run(.float32), run(.bfloat16))
    #expect(abs(short.loss - plain.loss) < 2e-4 * plain.loss)
    let error = (short.gradient - plain.gradient).norm() / plain.gradient.norm()
    #expect(error.item() < 6e-3)
    #expect(!short.gradient.isEqual(to: plain.gradient))
    // Where no gradient is wanted, as in evaluation.
    let x = Self.normal([count, depth], seed: 1)
    let loss = linearCrossEntropy(
      x, weight: w, labels: labels, fused: true, products: .bfloat16)
    #expect(loss.array(of: Float.self)[0] == short.loss)
  }
}
