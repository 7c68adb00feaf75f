import Foundation
import JSONValues
import TestSupport
import Testing
import Training

@Suite struct MetricsLogTests {
  private func text(_ path: String) throws -> String {
    try String(contentsOfFile: path, encoding: .utf8)
  }

  @Test func `a row is in the file as soon as it is appended`() throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/metrics.jsonl"
      let log = try MetricsLog(path: path, keepingStepsTo: 0)
      try log.append(["step": 1, "loss": 2.5])
      #expect(try text(path) == "{\"step\": 1, \"loss\": 2.5}\n")
      try log.append(["step": 2, "loss": 2.25])
      #expect(try text(path) == "{\"step\": 1, \"loss\": 2.5}\n{\"step\": 2, \"loss\": 2.25}\n")
    }
  }

  @Test func `a resumed run forgets later steps and a torn line`() throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/metrics.jsonl"
      let rows = [
        #"{"step": 10, "loss": 3.0}"#, #"{"step": 10, "eval_loss": 3.5}"#,
        #"{"step": 20, "loss": 2.0}"#, #"{"step": 30, "lo"#,
      ]
      try rows.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
      let log = try MetricsLog(path: path, keepingStepsTo: 10)
      try log.append(["step": 11, "loss": 2.75])
      #expect(
        try text(path) == rows[0] + "\n" + rows[1] + "\n{\"step\": 11, \"loss\": 2.75}\n")
    }
  }

  @Test func `a torn line does not swallow the next row`() throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/metrics.jsonl"
      try "{\"step\": 1}\n{\"step\": 2, \"x\": \"\u{E9}".write(
        toFile: path, atomically: true, encoding: .utf8)
      try MetricsLog(path: path, keepingStepsTo: 5).append(["step": 2])
      #expect(try text(path) == "{\"step\": 1}\n{\"step\": 2}\n")
    }
  }

  @Test func `numbers that are not finite become null, and the row is kept`() throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/metrics.jsonl"
      try MetricsLog(path: path, keepingStepsTo: 0).append([
        "step": 1, "gradient_norm": .number(.infinity), "more": [.number(.nan), 1],
      ])
      _ = try MetricsLog(path: path, keepingStepsTo: 1)
      #expect(try text(path) == "{\"step\": 1, \"gradient_norm\": null, \"more\": [null, 1]}\n")
    }
  }

  @Test func `a place that cannot be written is an error`() throws {
    try withTemporaryDirectory { directory in
      #expect(throws: (any Error).self) {
        try MetricsLog(path: directory + "/none/metrics.jsonl", keepingStepsTo: 0)
      }
      #expect(throws: (any Error).self) { try MetricsLog(path: directory, keepingStepsTo: 0) }
    }
  }
}
