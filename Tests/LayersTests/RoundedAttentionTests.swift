import CKernels
import Layers
import TestSupport
import Tensors
import Testing

/// Attention with products of bfloat16 numbers is that in float32 but for their rounding.
@Suite(.enabled(if: graft_has_bfloat16_dot())) struct RoundedAttentionTests {
  /// Output and the three gradients.
  static func run(
    batch: Int = 2, length: Int, keyLength: Int, heads: Int = 6, groups: Int = 2, size: Int = 64,
    mask: AttentionMask, productType: DType, keep rows: Range<Int>? = nil
  ) -> [Tensor] {
    func normal(_ count: Int, _ heads: Int, _ seed: UInt64) -> Tensor {
      let all = FusedAttentionTests.normal([batch, count, heads, size], seed)
      return rows.map { all.narrowed(0, $0).contiguous() } ?? all
    }
    let inputs = [
      normal(length, heads, 1), normal(keyLength, groups, 2), normal(keyLength, groups, 3),
    ]
    for input in inputs { input.requiresGradient = true }
    let turned = inputs.map { $0.transposed(1, 2) }
    let output = attention(
      query: turned[0], key: turned[1], value: turned[2], mask: mask, scale: 0.125, fused: true,
      productType: productType)
    let weighted = (output * normal(length, heads, 4).transposed(1, 2)).sum()
    return [output.detached()] + weighted.gradients(of: inputs).compactMap { $0 }
  }

  /// The share that they are apart by of the second one's length.
  static func distance(_ a: Tensor, _ b: Tensor) -> Double {
    let length = b.power(2).sum().item()
    return ((a - b).power(2).sum().item() / max(length, 1e-30)).squareRoot()
  }

  // Numbers with 8 bits are off by 2^-9 of themselves at most; shares and their gradients are rounded,
  // and what they are made from. Measured: 2e-3 to 6.2e-3, the most where a query sees two keys.
  static func compare(
    length: Int, keyLength: Int, heads: Int = 6, groups: Int = 2, size: Int = 64,
    mask: AttentionMask
  ) {
    let (rounded, exact) = (
      run(
        length: length, keyLength: keyLength, heads: heads, groups: groups, size: size, mask: mask,
        productType: .bfloat16),
      run(
        length: length, keyLength: keyLength, heads: heads, groups: groups, size: size, mask: mask,
        productType: .float32)
    )
    #expect(rounded.count == 4 && exact.count == 4)
    for (index, (a, b)) in zip(rounded, exact).enumerated() {
      #expect(a.shape == b.shape)
      let apart = distance(a, b)
      #expect(apart <= 8e-3, "\(index)")
      // And it is not the same function.
      #expect(length == 1 || apart >= 1e-5, "\(index)")
    }
  }

  // Lengths around the kernels' blocks of 16, 64 and 128, odd ones among them.
  @Test(arguments: [2, 15, 33, 63, 64, 65, 127, 200])
  func causal(length: Int) {
    Self.compare(length: length, keyLength: length, mask: AttentionMask(isCausal: true))
  }

  @Test(arguments: [16, 48, 80, 112, 256])
  func sizesOfHeads(size: Int) {
    Self.compare(length: 70, keyLength: 70, size: size, mask: AttentionMask(isCausal: true))
  }

  @Test func everythingMayBeSeen() {
    Self.compare(length: 50, keyLength: 131, heads: 3, groups: 3, mask: AttentionMask())
  }

  @Test func windowsAndPackedRows() {
    let ids = Tensor((0..<2 * 90).map { Int64($0 % 90 / 25) }, shape: [2, 90])
    Self.compare(
      length: 90, keyLength: 90,
      mask: .decoder(length: 90, keyLength: 90, sequenceIDs: ids, window: 9))
    Self.compare(length: 90, keyLength: 90, mask: .encoder(length: 90, reach: 7))
  }

  @Test func whatSeesNothingIsZero() {
    let keys = Tensor(
      (0..<2 * 70).map { $0 >= 70 || $0 > 20 ? Int64(1) : 0 }, shape: [2, 70])
    let mask = AttentionMask.decoder(length: 70, keyLength: 70, keyMask: keys)
    Self.compare(length: 70, keyLength: 70, mask: mask)
    let found = Self.run(length: 70, keyLength: 70, mask: mask, productType: .bfloat16)
    // Of the first row positions 0 to 20 see nothing, and nobody sees them.
    let output = found[0].narrowed(0, 0..<1).narrowed(2, 0..<21)
    #expect(output.absolute().sum().item() == 0)
    for gradient in found.dropFirst() {
      #expect(gradient.narrowed(0, 0..<1).narrowed(1, 0..<21).absolute().sum().item() == 0)
      let isFinite = gradient.array(of: Float.self).allSatisfy { $0.isFinite }
      #expect(isFinite)
    }
  }

  @Test func aRowsBitsDoNotDependOnOtherRows() {
    let mask = AttentionMask(isCausal: true)
    let all = Self.run(
      batch: 3, length: 75, keyLength: 75, mask: mask, productType: .bfloat16)
    let one = Self.run(
      batch: 3, length: 75, keyLength: 75, mask: mask, productType: .bfloat16, keep: 1..<2)
    for (a, b) in zip(all, one) {
      #expect(a.narrowed(0, 1..<2).array(of: Float.self) == b.array(of: Float.self))
    }
  }
}
