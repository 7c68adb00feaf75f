public import Tensors

/// Dropout of a model's own, which its configuration asks for in training.
///
/// It is off until somebody trains. What it draws comes from the generator of the model's adapters, whose
/// state is saved with a run.
public final class ModelDropout {
  /// Whether the model is trained.
  public var isOn = false
  /// Whether it is applied in training.
  public var isAllowed = true
  /// What numbers are drawn from; nil for the device's default one.
  public var generator: Generator?

  /// Makes one that is off.
  public init() {}

  /// Sets elements to zero at random and scales the others up.
  ///
  /// - Parameters:
  ///   - x: Any tensor.
  ///   - rate: Share of elements that become zero, in 0 ..< 1.
  /// - Returns: A tensor of the same shape; `x` itself where nothing is dropped.
  public func callAsFunction(_ x: Tensor, _ rate: Double) -> Tensor {
    acts(rate) ? x.dropout(rate, generator: generator) : x
  }

  /// Whether a rate has an effect now.
  ///
  /// - Parameter rate: Share of elements that become zero.
  /// - Returns: Whether something is dropped.
  public func acts(_ rate: Double) -> Bool { isOn && isAllowed && rate > 0 }
}

/// Shares of elements that a model drops in training, by the place; 0 for places that it does not have.
public struct DropoutRates: Equatable, Sendable {
  /// Of what the first block reads.
  public var embeddings = 0.0
  /// Of the weights of attention.
  public var attention = 0.0
  /// Of what attention gives, behind its last matrix.
  public var attentionOutput = 0.0
  /// Of what the MLP's last matrix reads.
  public var mlpInner = 0.0
  /// Of what the MLP gives.
  public var mlpOutput = 0.0
  /// Of what the last norm gives.
  public var states = 0.0
  /// In front of the head's last layer for classes of rows.
  public var rowHead = 0.0
  /// In front of the head's first layer for classes of rows.
  public var rowHeadInput = 0.0
  /// In front of the head's last layer for classes of tokens.
  public var tokenHead = 0.0
  /// In front of the head's last layer for answers.
  public var answerHead = 0.0

  /// Makes rates of a model that drops nothing.
  public init() {}
}
