/// How tokens of texts are hidden, for a model that learns to fill them in.
///
/// Each token that is not special is chosen with a probability. Of those that are chosen 8 in 10 become
/// the mask token, 1 becomes any token of the vocabulary, and 1 stays; all are asked for. What is chosen
/// depends on the seed, the epoch and the number of the example only, so that a run can be resumed.
///
/// Source: Devlin et al. 2019, arXiv 1810.04805, section 3.1.
public struct TokenMasking: Equatable, Sendable {
  /// Share of tokens that are chosen.
  public var probability: Double
  /// The token that stands for a hidden one.
  public var maskID: Int32
  /// Tokens from 0 on that may stand in for one.
  public var vocabularySize: Int
  /// Tokens that are never chosen.
  public var specialIDs: Set<Int32>
  /// Start of the random numbers.
  public var seed: UInt64

  /// Makes a rule.
  ///
  /// - Parameters:
  ///   - probability: Share of tokens that are chosen, above 0 and below 1.
  ///   - maskID: The token that stands for a hidden one.
  ///   - vocabularySize: Tokens from 0 on that may stand in for one.
  ///   - specialIDs: Tokens that are never chosen.
  ///   - seed: Start of the random numbers.
  public init(
    probability: Double, maskID: Int32, vocabularySize: Int, specialIDs: Set<Int32>, seed: UInt64
  ) {
    precondition(vocabularySize > 0, "TokenMasking: a vocabulary of \(vocabularySize)")
    self.probability = probability
    self.maskID = maskID
    self.vocabularySize = vocabularySize
    self.specialIDs = specialIDs
    self.seed = seed
  }

  /// An epoch of its own, for data that is evaluated: always hidden in the same way.
  public static let evaluationEpoch = Int(UInt32.max)

  /// Hides tokens of an example.
  ///
  /// - Parameters:
  ///   - example: Whole texts; its labels are not read.
  ///   - number: Its number among the data.
  ///   - epoch: The pass over the data, counted from 0.
  /// - Returns: The example with other ids, asked for what they were.
  public func masked(
    _ example: TokenizedExample, number: Int, epoch: Int
  ) -> TokenizedExample {
    var generator = SeededGenerator(
      seed: seed ^ 0x6D61_736B, stream: UInt64(epoch) << 32 | UInt64(truncatingIfNeeded: number))
    var result = example
    result.isAligned = true
    result.labels = Array(repeating: ignoredLabelID, count: example.ids.count)
    // 53 bits make a number in 0..<1.
    func share() -> Double { Double(generator.next() >> 11) * 0x1p-53 }
    for (place, id) in example.ids.enumerated() where !specialIDs.contains(id) {
      guard share() < probability else { continue }
      result.labels[place] = id
      let kind = share()
      if kind < 0.8 {
        result.ids[place] = maskID
      } else if kind < 0.9 {
        result.ids[place] = Int32(generator.next(below: vocabularySize))
      }
    }
    return result
  }
}
