public import Tensors

/// The blocks of a pass in the order in which it comes to them, with what stands before and behind them.
///
/// A pass goes through one stack of blocks or several: in front of each stand embeddings, behind the last
/// one a norm and a head.
public struct BlockPass {
  private let residency: BlockResidency?
  private let order: [Int]
  /// Place in front of each stack.
  private let starts: [Int]

  /// Describes a pass.
  ///
  /// - Parameters:
  ///   - residency: What brings numbers; nil where they are always there.
  ///   - stacks: Numbers of the blocks of each stack.
  public init(_ residency: BlockResidency?, stacks: [[Int]]) {
    self.residency = residency
    var (order, starts): ([Int], [Int]) = ([], [])
    if let residency {
      for stack in stacks {
        starts.append(order.count)
        order += [residency.entry] + stack
      }
      order.append(residency.exit)
    }
    (self.order, self.starts) = (order, starts)
  }

  private func run(_ place: Int, _ inputs: [Tensor], _ body: ([Tensor]) -> [Tensor]) -> [Tensor] {
    residency?.run(place, of: order, inputs, body) ?? body(inputs)
  }

  /// Computes what stands in front of a stack.
  ///
  /// - Parameters:
  ///   - stack: Its number.
  ///   - body: What is computed; the backward pass may run it again.
  /// - Returns: What `body` returns.
  public func entry(_ stack: Int = 0, _ body: () -> Tensor) -> Tensor {
    guard residency != nil else { return body() }
    return run(starts[stack], []) { _ in [body()] }[0]
  }

  /// Lets something read what stands in front of the first stack, in forward passes only.
  ///
  /// - Parameter body: What reads it.
  /// - Returns: What `body` returns.
  public func atEntry<Result>(_ body: () -> Result) -> Result {
    _ = residency?.run(0, of: order, []) { _ in [] }
    return body()
  }

  /// Computes a block.
  ///
  /// - Parameters:
  ///   - index: Its place in the stack.
  ///   - stack: The stack's number.
  ///   - inputs: What it reads.
  ///   - body: The block; the backward pass may run it again.
  /// - Returns: What `body` returns.
  public func block(
    _ index: Int, of stack: Int = 0, _ inputs: [Tensor], _ body: ([Tensor]) -> [Tensor]
  ) -> [Tensor] {
    guard residency != nil else { return body(inputs) }
    return run(starts[stack] + 1 + index, inputs, body)
  }

  /// Computes what stands behind the last stack, or a part of it.
  ///
  /// - Parameter body: What is computed; the backward pass may run it again.
  /// - Returns: What `body` returns.
  public func exit(_ body: () -> Tensor) -> Tensor {
    run(order.count - 1, []) { _ in [body()] }[0]
  }
}
