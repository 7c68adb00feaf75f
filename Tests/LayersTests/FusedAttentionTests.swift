import CKernels
import Layers
import TestSupport
import Tensors
import Testing

/// Attention by own kernels is LibTorch's to the last digits, forward and backward.
@Suite struct FusedAttentionTests {
  static func normal(_ shape: [Int], _ seed: UInt64) -> Tensor {
    Tensor.randomNormal(shape, generator: Generator(seed: seed))
  }

  /// Output and the three gradients, positions outside heads as projections give them.
  static func run(
    length: Int, keyLength: Int, heads: Int, groups: Int, size: Int, mask: AttentionMask,
    fused: Bool
  ) -> [Tensor] {
    let batch = 2
    let inputs = [
      normal([batch, length, heads, size], 1), normal([batch, keyLength, groups, size], 2),
      normal([batch, keyLength, groups, size], 3),
    ]
    for input in inputs { input.requiresGradient = true }
    let turned = inputs.map { $0.transposed(1, 2) }
    let output = attention(
      query: turned[0], key: turned[1], value: turned[2], mask: mask, scale: 0.3, fused: fused)
    let weighted = (output * normal(output.shape, 4)).sum()
    return [output.detached()] + weighted.gradients(of: inputs).compactMap { $0 }
  }

  static func compare(
    length: Int, keyLength: Int, heads: Int = 6, groups: Int = 2, size: Int = 64,
    mask: AttentionMask
  ) {
    let (found, expected) = (
      run(
        length: length, keyLength: keyLength, heads: heads, groups: groups, size: size, mask: mask,
        fused: true),
      run(
        length: length, keyLength: keyLength, heads: heads, groups: groups, size: size, mask: mask,
        fused: false)
    )
    #expect(found.count == 4 && expected.count == 4)
    for (a, b) in zip(found, expected) {
      #expect(a.shape == b.shape)
      // Where a query sees one key alone, gradients of scores are zero but for rounding.
      let largest = max(1, b.array(of: Float.self).map(abs).max() ?? 0)
      let apart = (a - b).array(of: Float.self).map(abs).max() ?? .infinity
      #expect(apart <= 1e-5 * largest, "\(a.shape)")
    }
  }

  // Lengths around the kernels' blocks of 48, 64 and 192.
  @Test(arguments: [1, 47, 48, 65, 200])
  func causal(length: Int) {
    Self.compare(length: length, keyLength: length, mask: AttentionMask(isCausal: true))
  }

  @Test(arguments: [16, 80, 112, 256])
  func sizesOfHeads(size: Int) {
    Self.compare(length: 70, keyLength: 70, size: size, mask: AttentionMask(isCausal: true))
  }

  @Test func everythingMayBeSeen() {
    Self.compare(length: 50, keyLength: 131, heads: 3, groups: 3, mask: AttentionMask())
  }

  @Test func paddingOnTheLeftSeesNothing() {
    let keys = Tensor(
      (0..<2 * 70).map { $0 >= 70 || $0 > 20 ? Int64(1) : 0 }, shape: [2, 70])
    let mask = AttentionMask.decoder(length: 70, keyLength: 70, keyMask: keys)
    Self.compare(length: 70, keyLength: 70, mask: mask)
  }

  @Test func windowsAndPackedRows() {
    let ids = Tensor((0..<2 * 90).map { Int64($0 % 90 / 25) }, shape: [2, 90])
    Self.compare(
      length: 90, keyLength: 90,
      mask: .decoder(length: 90, keyLength: 90, sequenceIDs: ids, window: 9))
    Self.compare(length: 90, keyLength: 90, mask: .encoder(length: 90, reach: 7))
  }

  @Test func everyInstructionSetAgrees() {
    withEachInstructionSet {
      Self.compare(length: 70, keyLength: 70, mask: AttentionMask(isCausal: true))
    }
  }

  @Test func otherSizesAreLeftToLibTorch() {
    Self.compare(length: 9, keyLength: 9, size: 20, mask: AttentionMask(isCausal: true))
  }
}
