public import Tensors

/// What all adapters of one model share while it runs.
public final class AdapterContext {
  /// Whether dropout is on.
  public var isTraining = false
  /// Whether adapters act at all.
  public var isEnabled = true
  /// Names of the adapters that act, in order.
  public var active: [String] = []
  /// Tasks of the rows of the batches to come, for methods that have several; nil for the first one.
  ///
  /// int64 `[batch]`, or `[1]` for all rows. Tasks that a batch names itself come before these.
  public var taskIDs: Tensor?
  /// Tasks that the batch which runs names itself.
  var batchTaskIDs: Tensor?
  /// The adapter of each row of a batch, nil for none; nil when all rows have those that act.
  var rowAdapters: [String?]?
  /// Source of dropout.
  public private(set) var generator: Generator

  /// Where that generator draws.
  private(set) var device: Device

  /// Sees what adapted layers get and give, and may put a function around it, while a start is found
  /// from data.
  var observe: ((_ layer: AdaptedProjection, _ x: Tensor, _ y: Tensor) -> Tensor)?

  /// The tokens of the batch that the model runs on, where the model tells them.
  var invocations: Invocations?

  /// Which of `total` tasks the rows of a batch have; nil for the first one.
  ///
  /// int64 `[batch]`, or `[1]` for all rows. What rows say has no meaning for an adapter that has one.
  func tasks(ofRows count: Int, among total: Int) -> Tensor? {
    guard total > 1, let tasks = batchTaskIDs ?? taskIDs else { return nil }
    precondition(
      tasks.shape == [count] || tasks.shape == [1],
      "taskIDs of shape \(tasks.shape) for \(count) rows")
    return tasks.to(.int64).to(device: device)
  }

  init(seed: UInt64, device: Device) {
    generator = Self.generator(seed, device)
    self.device = device
  }

  /// Begins anew on another device.
  func move(seed: UInt64, to device: Device) {
    generator = Self.generator(seed, device)
    self.device = device
  }

  /// Where there are shapes alone there is nothing to draw.
  private static func generator(_ seed: UInt64, _ device: Device) -> Generator {
    Generator(seed: seed, device: device.kind == .meta ? .cpu : device)
  }
}
