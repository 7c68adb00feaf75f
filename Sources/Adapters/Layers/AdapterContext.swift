public import Tensors

/// What all adapters of one model share while it runs.
public final class AdapterContext {
  /// Whether dropout is on.
  public var isTraining = false
  /// Whether adapters act at all.
  public var isEnabled = true
  /// Names of the adapters that act, in order.
  public var active: [String] = []
  /// Source of dropout.
  public let generator: Generator

  init(generator: Generator) { self.generator = generator }
}
