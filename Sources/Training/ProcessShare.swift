import Collectives
import Distributed
import Layers
import Optimizers
import Tensors

/// What a process kept of a run's numbers, and sent in its last update; in bytes.
public struct ProcessShare: Equatable, Sendable {
  /// Parameters that are trained, between updates.
  public var parameters = 0
  /// The most of gradients and their sums behind a pass.
  public var gradients = 0
  /// The optimiser's state.
  public var optimizerState = 0
  /// Frozen numbers that every process has.
  public var wholeBase = 0
  /// This process's ranges of frozen numbers that processes share out.
  public var sharedBase = 0
  /// Sent in the last update, by what it was for: gradients, parameters, blocks of the base ("block") and so on.
  public var sent: [String: Int] = [:]

  /// Nothing.
  public init() {}
}

extension Trainer {
  /// Takes the traffic of an update.
  func noteSent(since before: [String: Int]) {
    guard let now = processes?.traffic.purposes else { return }
    share.sent = now.merging(before) { $0 - $1 }.filter { $0.value > 0 }
  }

  /// Takes the gradients of an update, once they are summed.
  func noteGradients() {
    share.gradients =
      exchange?.keptGradientBytes
      ?? trained.reduce(0) { $0 + ($1.parameter.value.gradient?.byteCount ?? 0) }
  }

  /// Counts what this process keeps and gathers what all do.
  func noteShares(_ optimizer: any Optimizer) throws {
    share.parameters =
      sharded?.parameterByteCount ?? trained.reduce(0) { $0 + $1.parameter.value.byteCount }
    share.optimizerState = optimizer.state.reduce(0) { $0 + $1.tensor.byteCount }
    let residency = model.base.residency ?? BlockResidency()
    (share.wholeBase, share.sharedBase) = residency.keptByteCounts(of: model.base)
    guard let processes else {
      shares = [share]
      return
    }
    let names = share.sent.keys.sorted()
    let numbers = [
      share.parameters, share.gradients, share.optimizerState, share.wholeBase, share.sharedBase,
    ]
    let lists = try processes.allGather(names.joined(separator: ","), "names of shares")
    let sent = names.map { share.sent[$0] ?? 0 }
    let room = lists.map { $0.split(separator: ",").count }.max() ?? 0
    let own = numbers + sent + Array(repeating: 0, count: room - sent.count)
    let all = try processes.allGather(own.map { Double($0) }, "shares")
    shares = zip(all, lists).map { row, list in
      var share = ProcessShare()
      let row = row.map { Int($0) }
      (share.parameters, share.gradients, share.optimizerState) = (row[0], row[1], row[2])
      (share.wholeBase, share.sharedBase) = (row[3], row[4])
      for (name, count) in zip(list.split(separator: ","), row.dropFirst(numbers.count)) {
        share.sent[String(name)] = count
      }
      return share
    }
  }
}
