/// What numbers the two products of a head's loss are computed with, where they are fused: scores x W^T,
/// and p W of the gradient, with p the words' shares (softmax) in a row.
///
/// Sums are float32 in all of them. Processors that do not multiply bfloat16 compute in float32.
public enum LossProducts: Sendable {
  /// Both in float32.
  case float32
  /// Scores in float32, and of the gradient what large shares add, those of at least ``leastLargeShare``;
  /// what the rest adds in bfloat16.
  ///
  /// A row has at most 1 / ``leastLargeShare`` large shares, and roundings of the many others average out.
  case roundedRest
  /// Both in bfloat16.
  case bfloat16

  /// The least share that counts as large.
  static let leastLargeShare = 0x1p-13

  /// What this processor does.
  var supported: LossProducts { BFloat16Rows.isSupported ? self : .float32 }
}
