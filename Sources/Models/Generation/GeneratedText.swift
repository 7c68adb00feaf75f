/// What a model wrote.
public struct GeneratedText: Equatable, Sendable {
  /// Why a text ended.
  public enum Ending: String, Sendable {
    /// A token that ends texts, the last one of the text.
    case endOfText = "eos"
    /// A stop string, which the last token completed.
    case stopString = "stop"
    /// The greatest length.
    case length
    /// The time that was given, or the caller.
    case stopped
  }

  /// A token and the logarithm of its probability.
  public struct Choice: Equatable, Sendable {
    /// The token.
    public let id: Int
    /// Natural logarithm of its probability.
    public let logProbability: Double
  }

  /// Number of the prompt.
  public var prompt: Int
  /// New tokens.
  public var ids: [Int] = []
  /// Why it ended.
  public var ending = Ending.stopped
  /// Natural logarithms of the probabilities that the model gave these tokens, before any rule; empty
  /// where nobody asked for them.
  public var logProbabilities: [Double] = []
  /// The most probable tokens at each place, best first; empty where nobody asked for them.
  public var alternatives: [[Choice]] = []
  /// Score by which beam search chose the text: the sum of its scores behind all rules, divided by its
  /// length to the power of the length penalty; nil without beams.
  public var score: Double?

  /// Makes an empty text.
  init(prompt: Int) { self.prompt = prompt }
}
