public import Layers
public import Tensors

/// Trained parameters of blocks that are always there, of which only the gradients travel: those of a block
/// when the backward pass has left it.
public final class PassingBlocks: BlockSource {
  private let exchange: DataParallel

  /// Makes a source that brings nothing.
  ///
  /// - Parameter exchange: What is told of blocks that were passed back.
  public init(_ exchange: DataParallel) { self.exchange = exchange }

  /// Does not happen: what is trained stays where it is.
  ///
  /// - Parameters:
  ///   - tensors: Ignored.
  ///   - block: Ignored.
  public func take(_ tensors: [Tensor], of block: Int) {
    preconditionFailure("PassingBlocks: frozen tensors of block \(block)")
  }

  /// Does not happen.
  ///
  /// - Parameter tensors: Ignored.
  public func takeOutside(_ tensors: [Tensor]) {
    preconditionFailure("PassingBlocks: frozen tensors")
  }

  /// Nothing to do.
  ///
  /// - Parameter block: Ignored.
  public func fetch(_ block: Int) {}

  /// Nothing to do.
  ///
  /// - Parameter block: Ignored.
  public func await(_ block: Int) {}

  /// Exchanges the block's gradients.
  ///
  /// - Parameter block: The block.
  public func passedBack(_ block: Int) { exchange.passedBack(block) }

  /// Nothing to do.
  ///
  /// - Parameter block: Ignored.
  public func drop(_ block: Int) {}

  /// Nothing to do.
  ///
  /// - Parameter block: Ignored.
  public func expose(_ block: Int) {}

  /// Gradients are exchanged in one order, whatever passes a process makes.
  public var isShared: Bool { false }

  /// Nothing goes away.
  ///
  /// - Parameter tensor: Any tensor.
  /// - Returns: False.
  public func loses(_ tensor: Tensor) -> Bool { false }
}
