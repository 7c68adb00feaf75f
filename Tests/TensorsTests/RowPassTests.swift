import TestSupport
import Tensors
import Testing

/// A pass over rows gives the sums of its header's order to the last bit, which strides, neighbours and the
/// number of threads have no part in.
@Suite(.enabled(if: Runtime.withFastProducts { RowPass.isAvailable })) struct RowPassTests {
  static func normal(_ shape: [Int], seed: UInt64) -> Tensor {
    Tensor.randomNormal(shape, generator: Generator(seed: seed))
  }

  /// Rows, columns and rank: what is left of tiles and vectors, several stretches and blocks.
  static let shapes = [
    [1, 1, 1], [2, 17, 3], [5, 48, 8], [9, 67, 9], [50, 33, 24], [130, 100, 5], [300, 64, 16],
    [128, 31, 64], [7, 60_000, 2],
  ]

  /// The lanes of a vector, added as the kernel does.
  static func product(_ x: ArraySlice<Float>, _ factor: ArraySlice<Float>) -> Float {
    var lanes = [Float](repeating: 0, count: 16)
    for (k, (a, b)) in zip(x, factor).enumerated() { lanes[k % 16].addProduct(a, b) }
    for width in [8, 4, 2, 1] { for lane in 0..<width { lanes[lane] += lanes[lane + width] } }
    return lanes[0]
  }

  @Test(arguments: shapes) func productsInTheirOrder(_ shape: [Int]) {
    let (rows, columns, rank) = (shape[0], shape[1], shape[2])
    let (x, factor) = (
      Self.normal([rows, columns], seed: 1), Self.normal([rank, columns], seed: 2)
    )
    let (a, b) = (x.array(of: Float.self), factor.array(of: Float.self))
    let expected = (0..<rows).flatMap { row in
      (0..<rank).map {
        Self.product(
          a[row * columns..<(row + 1) * columns], b[$0 * columns..<($0 + 1) * columns])
      }
    }
    Runtime.withFastProducts {
      let found = x.narrowProduct(factor)
      #expect(found.array(of: Float.self) == expected)
      // In columns of a wider matrix, whose others stay; of matrices that lie otherwise.
      let wide = Tensor.full([rows, rank + 2], 7, dtype: .float32)
      let across = x.transposed().contiguous().transposed()
      var pass = RowPass(across)
      pass?.multiply(
        by: factor.transposed().contiguous().transposed(),
        into: RowPass.Columns(wide, 1..<rank + 1))
      pass?("test")
      #expect(wide.narrowed(1, 1..<rank + 1).isEqual(to: found))
      #expect(
        wide.narrowed(1, 0..<1).isEqual(to: wide.narrowed(1, rank + 1..<rank + 2)))
      #expect(wide.array(of: Float.self)[0] == 7)
    }
  }

  /// s times the sum over rows, in the order of rows and of blocks of 128.
  static func sum(_ x: [Float], _ left: [Float], _ shape: [Int], scale: Float) -> [Float] {
    let (rows, columns, rank) = (shape[0], shape[1], shape[2])
    return (0..<rank).flatMap { j in
      (0..<columns).map { k in
        var total = Float(0)
        for begin in stride(from: 0, to: rows, by: 128) {
          var block = Float(0)
          for row in begin..<min(begin + 128, rows) {
            block.addProduct(left[row * rank + j], x[row * columns + k])
          }
          total = begin == 0 ? block : total + block
        }
        return total * scale
      }
    }
  }

  @Test(arguments: shapes) func sumsInTheirOrder(_ shape: [Int]) {
    let (rows, columns, rank) = (shape[0], shape[1], shape[2])
    let (x, left) = (Self.normal([rows, columns], seed: 1), Self.normal([rows, rank], seed: 2))
    let (a, b) = (x.array(of: Float.self), left.array(of: Float.self))
    Runtime.withFastProducts {
      let found = x.summed(times: left)
      #expect(found.array(of: Float.self) == Self.sum(a, b, shape, scale: 1))
      let across = left.transposed().contiguous().transposed()
      let turned = x.transposed().contiguous().transposed()
      #expect(turned.summed(times: across).isEqual(to: found))
    }
  }

  /// Both sides of a gradient together are near the exact ones, with the kernel and without.
  @Test(arguments: shapes, [true, false]) func gradientsTogether(_ shape: [Int], fast: Bool) {
    let (rows, columns, rank) = (shape[0], shape[1], shape[2])
    let (g, b) = (Self.normal([rows, columns], seed: 1), Self.normal([columns, rank], seed: 2))
    let narrow = Self.normal([rows, rank], seed: 3)
    func found(_ needsB: Bool) -> (inner: Tensor, ofB: Tensor?) {
      let columns = RowPass.Columns(narrow)
      return fast
        ? Runtime.withFastProducts {
          g.narrowGradients(b: b, narrow: columns, scale: 0.3, needsB: needsB)
        } : g.narrowGradients(b: b, narrow: columns, scale: 0.3, needsB: needsB)
    }
    let (inner, ofB) = found(true)
    let (exactG, exactB) = (g.to(.float64), b.to(.float64))
    expectClose(
      inner.to(.float64), exactG.matrixProduct(exactB) * 0.3,
      absolute: 2e-6 * Double(columns).squareRoot(), relative: 1e-5)
    expectClose(
      ofB?.to(.float64) ?? inner,
      exactG.transposed().matrixProduct(narrow.to(.float64)) * 0.3,
      absolute: 2e-6 * Double(rows).squareRoot(), relative: 1e-5)
    let frozen = found(false)
    #expect(frozen.inner.isEqual(to: inner) && frozen.ofB == nil)
    guard fast else { return }
    let sums = Self.sum(
      g.array(of: Float.self), narrow.array(of: Float.self), shape, scale: 0.3)
    #expect(ofB?.isEqual(to: Tensor(sums, shape: [rank, columns]).transposed()) == true)
  }

  /// Several passes at once are each alone, and one may read what another wrote.
  @Test(arguments: shapes) func passesTogether(_ shape: [Int]) throws {
    let (rows, columns, rank) = (shape[0], shape[1], shape[2])
    let (x, other) = (Self.normal([rows, columns], seed: 1), Self.normal([rows, 37], seed: 2))
    let factor = Self.normal([rank, columns], seed: 3)
    let factors = Self.normal([columns], seed: 4)
    try Runtime.withFastProducts {
      let inner = Tensor.empty([rows, rank], dtype: .float32)
      var first = try #require(RowPass(x))
      first.multiply(by: factor, into: RowPass.Columns(inner))
      first.round(columnFactors: factors)
      // Of rows that are computed where they are read.
      let source = RowSource(count: rows, columns: 37, [other], name: "test") {
        for i in 0..<($2 - $1) * 37 { $3[i] = $0.elements(0, Float.self)[$1 * 37 + i] * 2 }
      }
      var second = try #require(RowPass(source))
      second.add(RowPass.Sum(left: RowPass.Columns(inner)))
      let results = RowPass.run([first, second], "test")
      #expect(inner.isEqual(to: x.narrowProduct(factor)))
      #expect(results[0].sum == nil && results[1].coded == nil)
      #expect(source.tensor.isEqual(to: other * 2.0))
      let expected = (other * 2.0).summed(times: inner)
      #expect(results[1].sum?.isEqual(to: expected) == true)
      let coded = try #require(results[0].coded)
      let alone = try #require(x.rounded(columnFactors: factors))
      #expect(coded.codes.isEqual(to: alone.codes) && coded.scales.isEqual(to: alone.scales))
      let codeSums = coded.codes.to(.int64).sum([1]).array(of: Int.self)
      #expect(coded.sums?.to(.int64).array(of: Int.self) == codeSums.map { 128 * $0 })
    }
  }

  /// A row alone has the bits that it has among others.
  @Test func rowsDependOnNothingElse() {
    let (x, factor) = (Self.normal([301, 200], seed: 1), Self.normal([11, 200], seed: 2))
    Runtime.withFastProducts {
      let whole = x.narrowProduct(factor)
      for row in [0, 2, 127, 128, 299, 300] {
        let one = x.narrowed(0, row..<row + 1).narrowProduct(factor)
        #expect(one.isEqual(to: whole.narrowed(0, row..<row + 1)))
      }
      let few = x.narrowProduct(factor.narrowed(0, 7..<10))
      #expect(few.isEqual(to: whole.narrowed(1, 7..<10)))
    }
  }

  /// What passes are not for is computed as products of matrices are: no rows, no columns, a wide factor,
  /// other types.
  @Test func whatIsLeftToProducts() {
    Runtime.withFastProducts {
      let x = Self.normal([6, 40], seed: 1)
      #expect(RowPass(Tensor.zeros([0, 3], dtype: .float32)) == nil)
      #expect(RowPass(Tensor.zeros([3, 0], dtype: .float32)) == nil)
      #expect(RowPass(x.to(.float64)) == nil && RowPass(x.to(.bfloat16)) == nil)
      #expect(!RowPass.takes(rank: 0) && !RowPass.takes(rank: RowPass.largestRank + 1))
      let none = Tensor.zeros([0, 40], dtype: .float32)
      let factor = Self.normal([RowPass.largestRank + 1, 40], seed: 2)
      #expect(none.narrowProduct(factor).shape == [0, RowPass.largestRank + 1])
      #expect(none.narrowProduct(factor.narrowed(0, 0..<2)).shape == [0, 2])
      #expect(
        none.summed(times: Tensor.zeros([0, 2], dtype: .float32)).array(of: Float.self)
          == [Float](repeating: 0, count: 80))
      let exact = x.to(.float64).matrixProduct(factor.to(.float64).transposed())
      expectClose(x.narrowProduct(factor).to(.float64), exact, absolute: 1e-5)
      expectClose(x.to(.float64).narrowProduct(factor.to(.float64)), exact, absolute: 1e-12)
    }
    #expect(RowPass(Self.normal([6, 40], seed: 1)) == nil)
  }

  @Test func specialNumbers() {
    let x = Tensor([Float.nan, 1, .infinity, 2, 0, 3], shape: [3, 2])
    Runtime.withFastProducts {
      let found = x.narrowProduct(Tensor([Float(1), 1], shape: [1, 2])).array(of: Float.self)
      #expect(found[0].isNaN && found[1] == .infinity && found[2] == 3)
      let coded = x.rounded(columnFactors: Tensor([Float(1), 1]))
      #expect(coded?.codes.array(of: Int8.self) == [0, 0, 0, 0, 0, 127])
    }
  }
}
