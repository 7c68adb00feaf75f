import Foundation
public import Tensors

/// Makes the end of a text more and more likely from some length on.
///
/// The score s of a token that ends the text becomes s + |s| (factor^n - 1), where n counts the tokens
/// from the start on; infinite scores stay.
public struct EndGrowth: LogitsProcessor {
  /// When it begins, and how fast it grows.
  public struct Settings: Equatable, Sendable {
    /// New tokens after which it begins.
    public var start: Int
    /// Factor of each token, above 1.
    public var factor: Double

    /// Makes settings.
    ///
    /// - Parameters:
    ///   - start: New tokens after which it begins.
    ///   - factor: Factor of each token.
    public init(start: Int, factor: Double) {
      self.start = start
      self.factor = factor
    }
  }

  private let settings: Settings
  private let ends: Tensor
  private let promptLength: Int

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - settings: When it begins, and how fast it grows.
  ///   - ends: bool `[vocabulary]`, true at tokens that end a text.
  ///   - context: The rows.
  public init(_ settings: Settings, _ ends: Tensor, _ context: ProcessorContext) {
    self.settings = settings
    self.ends = ends
    promptLength = context.promptLength
  }

  /// Raises the scores of tokens that end a text.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    let count = ids.size(1) - promptLength - settings.start
    guard count > 0 else { return scores }
    let growth = pow(settings.factor, Double(count)) - 1
    let magnitudes = scores.absolute()
    let isInfinite = magnitudes .== .infinity
    let isLeft = ends.negated() .| isInfinite .| (scores .== scores).negated()
    return scores + (magnitudes * growth).filled(where: isLeft, 0)
  }
}
