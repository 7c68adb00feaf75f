import TestSupport
import Tensors
import Testing

/// Which columns are left out of whole numbers, and that nothing but rounding is lost.
@Suite struct CodedInputTests {
  static func normal(_ shape: [Int], seed: UInt64) -> Tensor {
    Tensor.randomNormal(shape, generator: Generator(seed: seed))
  }

  /// Rows whose columns `large` are 30 times as large as the others.
  static func rows(_ size: Int, large: [Int]) -> Tensor {
    var factors = [Float](repeating: 1, count: size)
    for column in large { factors[column] = 30 }
    return normal([2000, size], seed: 1) * Tensor(factors)
  }

  private func leftOut(_ input: CodedInput) -> [Int] {
    (input.outliers?.columns.array(of: Int64.self) ?? []).map(Int.init).sorted()
  }

  @Test func largestColumns() {
    let some = leftOut(CodedInput(Self.rows(256, large: [200, 3, 77])))
    #expect(some.count == 16 && Set(some).isSuperset(of: [3, 77, 200]))
    #expect(leftOut(CodedInput(Self.rows(256, large: Array(20..<36)))) == Array(20..<36))
    // Few columns: an eighth of them.
    #expect(leftOut(CodedInput(Self.rows(16, large: [1, 2]))) == [1, 2])
    #expect(CodedInput(Self.rows(7, large: [1])).outliers == nil)
  }

  @Test func nothingButRoundingIsLost() throws {
    let x = Self.rows(300, large: [5, 299])
    try withEachInstructionSet {
      let input = CodedInput(x)
      let outliers = try #require(input.outliers)
      #expect(outliers.numbers.isEqual(to: x.selecting(1, outliers.columns)))
      let steps = (input.rows.scales * (1 / 127.0)).unsqueezed(1)
      let found = (input.rows.codes.to(.float32) * steps).contiguous()
      #expect(found.selecting(1, outliers.columns).absolute().max().item() == 0)
      // Steps are those of the other columns.
      #expect(input.rows.scales.max().item() < 6)
      let rest = x.cloned().fillInPlace(1, at: outliers.columns, 0)
      #expect(((found - rest).absolute() / steps).max().item() <= 0.5001)
    }
  }

  /// A number that is none stays visible.
  @Test func notANumber() {
    let x = Self.rows(256, large: [3])
    x.narrowed(0, 4..<5).narrowed(1, 9..<10).fillInPlace(.nan)
    let scales = CodedInput(x).rows.scales.array(of: Float.self)
    #expect(scales[4].isNaN && scales.filter(\.isNaN).count == 1)
  }
}
