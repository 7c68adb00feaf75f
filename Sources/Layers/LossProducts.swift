/// What numbers the two products of a head's loss are computed with, where they are fused: scores x W^T,
/// and p W of the gradient, with p the words' shares (softmax) in a row.
///
/// Sums are float32 in all of them. Processors that do not multiply bfloat16 compute in float32. What is
/// rounded in the gradient besides W is the rest of many small shares, whose errors average out; large
/// ones, at most some thousands in a row, are added exactly.
public enum LossProducts: Sendable {
  /// Both in float32.
  case float32
  /// Scores in float32, large shares too, the rest in bfloat16.
  case roundedRest
  /// Both in bfloat16.
  case bfloat16
  /// Scores in bfloat16, large shares in float32, the rest in whole numbers of 8 bits.
  case wholeNumberRest
  /// The same with scores in whole numbers of 8 bits, too, but for the hidden numbers of 16 columns, those
  /// with the largest magnitudes among the rows that are computed at a time, which are float32.
  case wholeNumbers

  /// Whether scores are computed in bfloat16.
  var roundsScores: Bool { self == .bfloat16 || self == .wholeNumberRest }

  /// Whether the gradient's product reads words in whole numbers.
  var codesWords: Bool { self == .wholeNumberRest || self == .wholeNumbers }

  /// What this processor does.
  var supported: LossProducts { BFloat16Rows.isSupported ? self : .float32 }
}
