import Distributed
import Foundation

extension StepProfile {
  /// Tables of phases, parts of the model and the slowest kernels, for a terminal.
  public var summary: String { text(kernelLimit: 20, listsBlocks: false) }

  /// Tables of everything, each block and kernel among it.
  public var details: String { text(kernelLimit: nil, listsBlocks: true) }

  private func text(kernelLimit: Int?, listsBlocks: Bool) -> String {
    let (phases, kernels) = (phases, kernels)
    let calls = kernels.filter { !$0.name.isEmpty }.reduce(0) { $0 + $1.count }
    var tables = [
      "step \(step): \(milliseconds(duration)) ms, \(calls) calls of operators and kernels; "
        + "at most \(megabytes(heldMost)) MB of tensors beside those from before",
      TextTable(
        ["phase", "ms", "share", "allocated MB"],
        phases.map {
          [
            $0.name == Phase.step.rawValue ? "the rest" : $0.name, milliseconds($0.total),
            share($0.total), megabytes($0.allocatedBytes),
          ]
        }
      ).text,
      table("layer", layers, nameless: "outside of layers", keeps: true),
    ]
    if let exchange {
      tables.insert(
        String(
          format: "gradients went in %d messages, %d begun and %d done before their pass was over; "
            + "%.2f ms on the way, %.2f ms waited for", exchange.messages, exchange.begun,
          exchange.ended, 1000 * exchange.seconds, 1000 * exchange.waited), at: 2)
    }
    if listsBlocks { tables.append(table("block", blocks, nameless: "", keeps: true)) }
    tables.append(
      table(
        "kernel", Array(kernels.prefix(kernelLimit ?? kernels.count)),
        nameless: "between them", keeps: false))
    if let kernelLimit, kernels.count > kernelLimit {
      let rest = kernels.dropFirst(kernelLimit).reduce(0) { $0 + $1.total }
      tables[tables.count - 1] +=
        "\n\(kernels.count - kernelLimit) more: \(milliseconds(rest)) ms, \(share(rest))"
    }
    return tables.joined(separator: "\n\n") + "\n"
  }

  private func table(_ title: String, _ sums: [Sum], nameless: String, keeps: Bool) -> String {
    TextTable(
      [title, "calls", "forward ms", "backward ms", "ms", "share", "allocated MB"]
        + (keeps ? ["kept MB"] : ["GFLOP/s"]),
      sums.map { sum in
        [
          sum.name.isEmpty ? nameless : sum.name, "\(sum.count)", milliseconds(sum.forward),
          milliseconds(sum.backward), milliseconds(sum.total), share(sum.total),
          megabytes(sum.allocatedBytes),
          keeps
            ? megabytes(sum.keptBytes)
            : sum.operations == 0
              ? "" : String(format: "%.0f", Double(sum.operations) / Double(max(sum.total, 1))),
        ]
      }
    ).text
  }

  private func share(_ time: Int) -> String {
    String(format: "%.1f %%", 100 * Double(time) / Double(max(duration, 1)))
  }

  private func milliseconds(_ time: Int) -> String { String(format: "%.2f", Double(time) / 1e6) }

  private func megabytes(_ bytes: Int) -> String { String(format: "%.1f", Double(bytes) / 1e6) }
}

/// Columns of text, the first one on the left and the others on the right.
private struct TextTable {
  let text: String

  init(_ header: [String], _ rows: [[String]]) {
    let lines = [header] + rows
    let widths = header.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
    text = lines.map { line in
      line.enumerated().map { column, word in
        let room = String(repeating: " ", count: widths[column] - word.count)
        return column == 0 ? word + room : room + word
      }.joined(separator: "  ")
    }.joined(separator: "\n")
  }
}
