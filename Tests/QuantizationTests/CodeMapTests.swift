import Quantization
import Testing

@Suite struct CodeMapTests {
  /// Sums of the bits, and a few entries, of the tables that bitsandbytes 0.50.2 makes.
  @Test func dynamicMaps() {
    let (signed, unsigned) = (CodeMap.dynamic.values, CodeMap.dynamicUnsigned.values)
    #expect(signed[0] == -0.99296874 && signed[127] == 0 && signed[255] == 1)
    #expect(unsigned[0] == 0 && unsigned[255] == 1)
    #expect(Set(signed).count == 256 && Set(unsigned).count == 256)
    for index in 0..<127 { #expect(signed[index] == -signed[254 - index]) }
    // Decades hold 1, 2, 4 ... numbers: 7 of them below 1e-0, the smallest 5.5e-7.
    for (exponent, count) in [(-6, 1), (-5, 2), (-4, 4), (-3, 8), (-2, 16), (-1, 32), (0, 64)] {
      let top = Float(pow10(exponent))
      #expect(signed.count { $0 > top / 10 && $0 < top } == count)
      #expect(unsigned.count { $0 > top / 10 && $0 < top } == 2 * count)
    }
    #expect(CodeMap.linear.values[127] == 0 && CodeMap.linear.values[128] == 0)
  }

  private func pow10(_ exponent: Int) -> Double {
    var value = 1.0
    for _ in 0..<abs(exponent) { value *= 10 }
    return exponent < 0 ? 1 / value : value
  }

  @Test func fourBitTables() {
    #expect(FourBitType.nf4.values[0] == -1 && FourBitType.nf4.values[7] == 0)
    #expect(FourBitType.nf4.values == FourBitType.nf4.values.sorted())
    #expect(
      FourBitType.fp4.values.map { $0 * 12 }.map { ($0 * 16).rounded() / 16 }
        == [0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3])
  }
}
