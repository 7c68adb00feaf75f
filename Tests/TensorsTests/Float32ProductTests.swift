import TestSupport
import Tensors
import Testing

/// Our kernel's products are the exact ones but for the rounding of float32 sums, and an element's bits
/// do not depend on what is computed beside it.
@Suite(.enabled(if: Tensor.hasFloat32Kernel)) struct Float32ProductTests {
  static func normal(_ shape: [Int], seed: UInt64) -> Tensor {
    Tensor.randomNormal(shape, generator: Generator(seed: seed))
  }

  /// Every tile and panel with what is left of it, parts of the depth, more rows than one part.
  static let shapes = [
    [1, 1, 1], [3, 40, 7], [8, 16, 16], [9, 67, 33], [23, 1600, 50], [43, 768, 96], [130, 64, 24],
    [17, 769, 48], [700, 30, 400], [1, 2000, 3],
  ]

  /// Off by a few units of the sum of magnitudes.
  static func expectNear(_ found: Tensor, _ exact: Tensor, depth: Int) {
    expectClose(
      found.to(.float64), exact, absolute: 3e-6 * Double(depth).squareRoot() + 1e-6, relative: 1e-5)
  }

  @Test(arguments: shapes) func products(_ shape: [Int]) {
    let (rows, depth, outputs) = (shape[0], shape[1], shape[2])
    let (x, w) = (Self.normal([rows, depth], seed: 1), Self.normal([outputs, depth], seed: 2))
    let exact = x.to(.float64).matrixProduct(w.to(.float64).transposed())
    Self.expectNear(x.kernelProduct(w), exact, depth: depth)
    // A weight whose outputs lie beside each other, and an x whose rows do.
    let turned = w.transposed().contiguous().transposed()
    let across = x.transposed().contiguous().transposed()
    let found = across.kernelProduct(turned)
    Self.expectNear(found, exact, depth: depth)
    #expect(found.isEqual(to: x.kernelProduct(w)))
  }

  @Test(arguments: shapes) func whatIsAdded(_ shape: [Int]) {
    let (rows, depth, outputs) = (shape[0], shape[1], shape[2])
    let (x, w) = (Self.normal([rows, depth], seed: 1), Self.normal([outputs, depth], seed: 2))
    let (narrow, factor) = (Self.normal([rows, 5], seed: 3), Self.normal([3, outputs], seed: 4))
    let (bias, sum) = (Self.normal([outputs], seed: 5), Self.normal([rows, outputs], seed: 6))
    let term = NarrowTerm(rows: narrow, columns: 1..<4, factor: factor)
    let exact =
      x.to(.float64).matrixProduct(w.to(.float64).transposed()) + bias.to(.float64)
      + narrow.narrowed(1, 1..<4).to(.float64).matrixProduct(factor.to(.float64))
    let memory = Tensor.full([rows, outputs], .nan, dtype: .float32)
    let found = x.kernelProduct(w, bias: bias, adding: term, into: memory)
    Self.expectNear(found, exact, depth: depth)
    #expect(found.isEqual(to: memory))
    let columns = factor.transposed().contiguous().transposed()
    let turned = NarrowTerm(rows: narrow, columns: 1..<4, factor: columns, scale: 0.5)
    let scaled = NarrowTerm(rows: narrow, columns: 1..<4, factor: factor * 0.5)
    #expect(x.kernelProduct(w, adding: turned).isEqual(to: x.kernelProduct(w, adding: scaled)))
    let onto = sum.detached() * 1.0
    let both = x.kernelProduct(w, bias: bias, adding: term, into: onto, adds: true)
    Self.expectNear(both, exact + sum.to(.float64), depth: depth)
  }

  /// Rows alone, and outputs alone, have the bits that they have among others.
  @Test func bitsDependOnNothingElse() {
    let (x, w) = (Self.normal([601, 900], seed: 1), Self.normal([410, 900], seed: 2))
    let whole = x.kernelProduct(w)
    for row in [0, 7, 255, 599, 600] {
      let some = x.narrowed(0, row..<row + 1).kernelProduct(w)
      #expect(some.isEqual(to: whole.narrowed(0, row..<row + 1)))
    }
    let few = x.kernelProduct(w.narrowed(0, 47..<66).contiguous())
    #expect(few.isEqual(to: whole.narrowed(1, 47..<66)))
  }

  @Test func nothingToSum() {
    let (x, w) = (Tensor.zeros([3, 0], dtype: .float32), Tensor.zeros([2, 0], dtype: .float32))
    let bias = Tensor([Float(1), 2])
    #expect(x.kernelProduct(w, bias: bias).array(of: Float.self) == [1, 2, 1, 2, 1, 2])
    let none = Tensor.zeros([0, 4], dtype: .float32)
    #expect(none.kernelProduct(Self.normal([2, 4], seed: 1)).shape == [0, 2])
  }

  @Test func specialNumbers() {
    let x = Tensor([Float.nan, 1, .infinity, 2], shape: [2, 2])
    let found = x.kernelProduct(Tensor([Float(1), 1], shape: [1, 2])).array(of: Float.self)
    #expect(found[0].isNaN)
    #expect(found[1] == .infinity)
  }

  /// The derivative of a linear layer by the kernel is that of LibTorch's product.
  @Test func derivative() {
    let (x, w) = (Self.normal([6, 9, 80], seed: 1), Self.normal([70, 80], seed: 2))
    let (bias, upstream) = (Self.normal([70], seed: 3), Self.normal([6, 9, 70], seed: 4))
    func gradients() -> [Tensor?] {
      let inputs = [x, w, bias].map { $0.detached() * 1.0 }
      for input in inputs { input.requiresGradient = true }
      (inputs[0].linear(inputs[1], bias: inputs[2]) * upstream).sum().backward()
      return inputs.map(\.gradient)
    }
    let plain = gradients()
    let fast = Runtime.withFastProducts { gradients() }
    for case (let a?, let b?) in zip(plain, fast) {
      expectClose(b, a, absolute: 1e-4, relative: 1e-5)
    }
  }
}
