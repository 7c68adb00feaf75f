import Collectives
import Foundation
import JSONValues

/// What an update will take on several machines: what one machine was measured to need, and the exchange
/// of gradients behind it as ``AllReduceCost`` predicts it.
///
/// Machines are taken to be like this one, and the exchange to begin when the update is computed.
struct ClusterPlan {
  /// A number of machines.
  struct Row: Equatable {
    let nodes: Int
    let processes: Int
    /// Seconds of the exchange.
    let exchange: Double
    /// Seconds of the recipe's own update; nil where it has fewer rows than there are processes.
    let sameUpdate: Double?
    /// Seconds of an update with as many rows for each machine as the recipe's has for one.
    let largerUpdate: Double
    /// Bytes that each process sends.
    let sent: Double
  }

  let network: NetworkFigures
  let cost: AllReduceCost
  /// Where the network was measured.
  let origin: String
  let rows: [Row]

  /// Predicts.
  ///
  /// - Parameters:
  ///   - nodes: Numbers of machines.
  ///   - processes: Processes on each.
  ///   - seconds: Seconds of the recipe's update on one machine.
  ///   - updateRows: Rows of that update.
  ///   - gradientBytes: Bytes of gradients.
  ///   - network: Measured all-reduces.
  ///   - origin: Where they were measured.
  /// - Throws: ``RecipeError`` where the measurements do not tell latency and bandwidth apart.
  init(
    nodes: [Int], processes: Int, seconds: Double, updateRows: Int, gradientBytes: Int,
    network: NetworkFigures, origin: String
  ) throws {
    guard let cost = network.cost else {
      throw RecipeError(
        "\(origin): measurements of one size do not tell latency and bandwidth apart")
    }
    (self.network, self.cost, self.origin) = (network, cost, origin)
    func share(_ ranks: Int) -> Int { (updateRows + ranks - 1) / ranks }
    // What one machine exchanges among its own processes is in its time already.
    let own = cost.seconds(bytes: gradientBytes, processes: processes)
    rows = nodes.map { count in
      let ranks = count * processes
      let exchange = cost.seconds(bytes: gradientBytes, processes: ranks)
      let more = exchange - own
      return Row(
        nodes: count, processes: ranks, exchange: exchange,
        sameUpdate: ranks > updateRows
          ? nil : (seconds - own) * Double(share(ranks)) / Double(share(processes)) + exchange,
        largerUpdate: seconds + more,
        sent: 2 * Double(gradientBytes) * Double(ranks - 1) / Double(ranks))
    }
  }

  var json: JSON {
    [
      "network": network.json, "network_from": .string(origin),
      "nodes": .array(
        rows.map { row in
          [
            "nodes": .integer(row.nodes), "processes": .integer(row.processes),
            "exchange_seconds": .number(row.exchange),
            "seconds_per_step": row.sameUpdate.map(JSON.number) ?? .null,
            "seconds_per_larger_step": .number(row.largerUpdate),
            "bytes_sent_per_process": .integer(Int(row.sent)),
          ]
        }),
    ]
  }

  func text(secondsOfOne: Double) -> String {
    var lines = [
      "Several machines, predicted from measured all-reduces (\(origin)):",
      "  \(NetworkFigures.describe(cost, network.samples))",
      "  nodes  processes  exchange s   this update s   one n times as large: s, of n times the speed",
    ]
    for row in rows {
      let efficiency = 100 * secondsOfOne / row.largerUpdate
      let fields = [
        "\(row.nodes)".leftPadded(to: 7), "\(row.processes)".leftPadded(to: 11),
        row.exchange.fixed(3).leftPadded(to: 12),
        (row.sameUpdate?.fixed(3) ?? "too few rows").leftPadded(to: 16),
        row.largerUpdate.fixed(3).leftPadded(to: 26), "\(efficiency.fixed(0)) %".leftPadded(to: 20),
      ]
      lines.append(fields.joined())
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
