public import Tensors

/// Where the frozen numbers of a model's blocks are while no pass is at them.
///
/// Blocks are counted from 0 in the order of the model. A block whose numbers were taken is away until it
/// is asked for; its tensors stay the same objects at the same addresses, so that whatever refers to them
/// finds the numbers again.
public protocol BlockSource: AnyObject {
  /// Takes the numbers of a block, which is away then.
  ///
  /// - Parameters:
  ///   - tensors: All that are frozen in it, each once, on the processor.
  ///   - block: The block, not taken before.
  /// - Throws: When there is no place for them.
  func take(_ tensors: [Tensor], of block: Int) throws

  /// Takes what is frozen outside of the blocks, which stays readable at any time.
  ///
  /// - Parameter tensors: The model's, each once, on the processor.
  /// - Throws: When there is no place for them.
  func takeOutside(_ tensors: [Tensor]) throws

  /// Begins to bring a block, and returns at once.
  ///
  /// - Parameter block: A block that is away.
  func fetch(_ block: Int)

  /// Waits until a block is there.
  ///
  /// After an error its memory can be read, but holds anything.
  ///
  /// - Parameter block: A block that was fetched.
  /// - Throws: When it cannot be brought.
  func await(_ block: Int) throws

  /// Told that the backward pass has left a block, before that goes.
  ///
  /// - Parameter block: A block that is there.
  func passedBack(_ block: Int)

  /// Lets a block go.
  ///
  /// - Parameter block: A block that is there.
  func drop(_ block: Int)

  /// Makes a block's memory readable after an error, whatever stands there.
  ///
  /// - Parameter block: A block that is away.
  func expose(_ block: Int)

  /// Whether every process of the run has to go through the same passes.
  var isShared: Bool { get }

  /// Bytes of its own that this process keeps of what was taken.
  var keptByteCount: Int { get }

  /// Whether a tensor's numbers go away with its block.
  ///
  /// - Parameter tensor: Any tensor.
  /// - Returns: True where what is written to it would be lost.
  func loses(_ tensor: Tensor) -> Bool
}

extension BlockSource {
  /// None that are counted.
  public var keptByteCount: Int { 0 }

  /// Nothing to do.
  ///
  /// - Parameter block: Ignored.
  public func passedBack(_ block: Int) {}
}
