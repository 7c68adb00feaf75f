import Foundation
import JSONValues

/// What a run will take.
struct RunPlan {
  /// A part of a process's memory.
  struct Part: Equatable {
    let name: String
    let bytes: Double
  }

  /// Parts of the memory of a process, which together are the peak.
  let parts: [Part]
  /// Most memory of a process, in bytes.
  let peak: Double
  /// Seconds of an update on this machine.
  let secondsPerStep: Double
  /// Updates of the run; nil where only the run itself finds out.
  let steps: Int?
  /// Bytes of one checkpoint.
  let checkpoint: Double
  /// Checkpoints that are kept, with the one that is being written.
  let checkpoints: Int
  /// Bytes of the results.
  let result: Double
  /// Processes.
  let processes: Int
  /// Blocks of the model, and of the two trials.
  let depth: Int
  let trialDepths: [Int]

  /// Bytes of gradients that an update sums over processes.
  let gradientBytes: Double

  /// Bytes that the run's directory needs at most.
  var disk: Double { checkpoint * Double(checkpoints) + result }

  var json: JSON {
    func whole(_ number: Double) -> JSON { .integer(Int(number)) }
    return [
      "processes": .integer(processes), "peak_memory_bytes": whole(peak),
      "memory": .object(JSONObject(parts.map { ($0.name, whole($0.bytes)) })),
      "seconds_per_step": .number(secondsPerStep), "steps": steps.map(JSON.integer) ?? .null,
      "seconds": steps.map { .number(Double($0) * secondsPerStep) } ?? .null,
      "disk_bytes": whole(disk), "checkpoint_bytes": whole(checkpoint),
      "checkpoints": .integer(checkpoints), "result_bytes": whole(result),
      "blocks": .integer(depth), "trial_blocks": .array(trialDepths.map(JSON.integer)),
    ]
  }

  var text: String {
    func row(_ name: String, _ bytes: Double) -> String {
      "  \(name)" + String(repeating: " ", count: max(1, 44 - name.count))
        + (bytes / 1e6).fixed(1).leftPadded(to: 10) + " MB"
    }
    var lines = ["Memory" + (processes > 1 ? " of each of \(processes) processes" : "")]
    lines += parts.map { row($0.name, $0.bytes) } + [row("peak", peak)]
    lines += ["Time on this machine", "  a step: \(secondsPerStep.fixed(2)) s"]
    if let steps {
      lines.append(
        "  \(steps) steps: \(Self.duration(Double(steps) * secondsPerStep)), without evaluations")
    }
    lines += [
      "Disk",
      row(
        "\(checkpoints) checkpoints, one of them being written",
        checkpoint * Double(checkpoints)), row("results", result),
      "From trials of \(trialDepths.map(String.init).joined(separator: " and ")) of \(depth) blocks on "
        + "the longest rows.",
    ]
    return lines.joined(separator: "\n") + "\n"
  }

  private static func duration(_ seconds: Double) -> String {
    let total = Int(seconds.rounded())
    return total < 120
      ? "\(total) s" : total < 7200 ? "\(total / 60) min" : "\((Double(total) / 3600).fixed(1)) h"
  }
}

extension String {
  /// With spaces before it.
  func leftPadded(to width: Int) -> String {
    String(repeating: " ", count: max(0, width - count)) + self
  }
}
