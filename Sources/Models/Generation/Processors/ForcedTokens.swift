public import Tensors

/// Lets one token only follow the first one of a row.
public struct ForcedFirstToken: LogitsProcessor {
  private let forced: Tensor

  /// Makes the rule.
  ///
  /// - Parameter forced: bool `[vocabulary]`, true at the token.
  public init(_ forced: Tensor) { self.forced = forced }

  /// Puts minus infinity everywhere else.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    ids.size(1) == 1 ? only(forced, scores) : scores
  }
}

/// Lets some tokens only come last, where a row reaches its greatest length.
public struct ForcedLastToken: LogitsProcessor {
  private let forced: Tensor
  private let endLengths: [Int]

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - forced: bool `[vocabulary]`, true at the tokens.
  ///   - context: The rows.
  public init(_ forced: Tensor, _ context: ProcessorContext) {
    self.forced = forced
    endLengths = context.endLengths
  }

  /// Puts minus infinity everywhere else, in rows that end.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    let ending = endLengths.map { ids.size(1) == $0 - 1 }
    guard ending.contains(true) else { return scores }
    let rows = Tensor(ending.map { $0 ? 1 : 0 }, shape: [ending.count, 1]) .!= 0
    return Tensor.choosing(rows.to(device: scores.device), only(forced, scores), scores)
  }
}

/// Zero where a mask is true, minus infinity elsewhere.
private func only(_ mask: Tensor, _ scores: Tensor) -> Tensor {
  scores.zerosLike().filled(where: mask.negated(), -.infinity)
}
