import Collectives
import Distributed
import Foundation
import Layers
import Optimizers
import Tensors

/// A block w (x + 1) whose backward pass takes some time, of which gradients before it can make use.
private struct SlowBlock {
  let weight: Parameter
  let milliseconds: Int

  func callAsFunction(_ x: Tensor) -> Tensor {
    let slow = differentiable("Slow", [x]) { values in
      (
        values.map { $0 + 1 },
        { gradients in
          usleep(UInt32(1000 * milliseconds))
          return gradients
        }
      )
    }[0]
    return slow * weight.value
  }
}

/// An update of blocks whose gradients travel during the pass, or behind it.
///
/// In the last round only rank 0 has a part.
private func update(
  _ group: ProcessGroup, stage: Int, isOrdered: Bool, travels: Bool, milliseconds: Int
) throws -> (bits: [String], overlap: DataParallel.Overlap, sent: Int) {
  let outside = Parameter(noise(40, seed: 1))
  let blocks = (0..<6).map { number in
    // One is long: it and the last one fill a message, the others share another.
    SlowBlock(
      weight: Parameter(noise(number == 4 ? 100_000 : 100, seed: 10 + number)),
      milliseconds: milliseconds)
  }
  let parameters = [outside] + blocks.map(\.weight)
  for parameter in parameters { parameter.isTrainable = true }
  let exchange = DataParallel(
    parameters, in: group, isOrdered: isOrdered,
    blocks: travels ? [nil] + blocks.indices.map { $0 } : [], joinsBlocks: travels)
  let residency = BlockResidency()
  if travels { residency.trained = PassingBlocks(exchange) }
  var sharded: ShardedOptimizer?
  if stage > 0 {
    let names = parameters.indices.map { "p\($0)" }
    sharded = try ShardedOptimizer(stage: stage, names: names, exchange) {
      try OptimizerKind.adamW.make($0, .init(), stateDirectory: "", partsOf: $1)
    }
  }
  func compute(_ part: Int) -> Double {
    var x = noise(1, seed: 100 + part)
    for (number, block) in blocks.enumerated() {
      x = residency.run(number, of: Array(blocks.indices), [x]) { [block($0[0]).mean()] }[0]
    }
    let loss = (x * outside.value).sum()
    loss.backward()
    residency.end()
    return loss.item()
  }
  let before = group.traffic.total
  if let sharded {
    _ = try sharded.gradients(parts: 2 * group.size + 1, compute: compute)
  } else {
    _ = try exchange.gradients(parts: 2 * group.size + 1, compute: compute)
  }
  try residency.check()
  let sent = group.traffic.total - before
  if let sharded {
    sharded.step(learningRate: 0.1)
    try sharded.shareParameters()
    return (parameters.map { hash($0.value.detached()) }, exchange.overlap, sent)
  }
  return (
    parameters.map { $0.value.gradient.map(hash) ?? "none" }, exchange.overlap, sent
  )
}

/// Gradients that travel during the pass are those that travel behind it; a line for each way of sharing:
/// messages, those done before the pass was over, and the same without.
func overlapRun(_ group: ProcessGroup) throws -> String {
  var lines: [String] = []
  for stage in [0, 1, 2] {
    for isOrdered in [true, false] {
      let slow = try update(
        group, stage: stage, isOrdered: isOrdered, travels: true, milliseconds: 30)
      let plain = try update(
        group, stage: stage, isOrdered: isOrdered, travels: false, milliseconds: 0)
      // Without an order sums are rounded as Gloo likes, by the place in a bucket.
      if isOrdered || group.size == 2 {
        precondition(slow.bits == plain.bits, "stage \(stage), ordered: \(isOrdered)")
      }
      lines.append(
        "\(slow.overlap.messages) \(slow.overlap.ended) \(plain.overlap.messages) "
          + "\(plain.overlap.ended)")
    }
  }
  return lines.joined(separator: "\n")
}

/// A parameter that is said to be in a block whose gradient comes later is an error.
func lateRun(_ group: ProcessGroup) throws -> String {
  let parameter = Parameter(noise(4, seed: 1))
  parameter.isTrainable = true
  let exchange = DataParallel([parameter], in: group, isOrdered: true, blocks: [0])
  _ = try exchange.gradients(parts: group.size) { _ in
    exchange.passedBack(0)
    parameter.value.sum().backward()
    return 0
  }
  return "not noticed"
}
