import Checkpoints
import Collectives
import Foundation
import JSONValues

/// All-reduces that were measured, and what follows from them.
struct NetworkFigures {
  let samples: [AllReduceCost.Sample]
  /// Nil where the samples do not tell latency and bandwidth apart.
  let cost: AllReduceCost?

  init(_ samples: [AllReduceCost.Sample]) {
    self.samples = samples
    cost = AllReduceCost(fitting: samples)
  }

  /// Reads files that `graft network` has written, and puts their measurements together.
  ///
  /// - Throws: `CheckpointError` or `JSONError` for what cannot be read, ``RecipeError`` for another file.
  init(reading paths: [String]) throws {
    self.init(
      try paths.flatMap { path in
        guard FileManager.default.fileExists(atPath: path) else {
          throw CheckpointError.missing(path: path)
        }
        guard let list = try JSON.read(path: path)["samples"]?.arrayValue, !list.isEmpty else {
          throw RecipeError("\(path): expected 'samples', as graft network writes them")
        }
        return try list.map { sample in
          guard let processes = sample["processes"]?.intValue, processes > 1,
            let bytes = sample["bytes"]?.intValue, bytes > 0,
            let seconds = sample["seconds"]?.doubleValue, seconds > 0
          else {
            throw RecipeError(
              "\(path): expected samples of processes, bytes and seconds, found \(sample.serialized())"
            )
          }
          return AllReduceCost.Sample(processes: processes, bytes: bytes, seconds: seconds)
        }
      })
  }

  var json: JSON {
    var fields: [(String, JSON)] = [
      (
        "samples",
        .array(
          samples.map {
            [
              "processes": .integer($0.processes), "bytes": .integer($0.bytes),
              "seconds": .number($0.seconds),
            ]
          })
      )
    ]
    if let cost {
      fields += [
        ("latency_seconds", .number(cost.latency)),
        ("seconds_per_byte", .number(cost.secondsPerByte)),
        ("worst_relative_error", .number(cost.worstError(of: samples))),
      ]
    }
    return .object(JSONObject(fields))
  }

  var text: String {
    var lines = samples.map {
      "\($0.processes) processes, \($0.bytes) bytes: \(($0.seconds * 1e3).fixed(3)) ms"
    }
    if let cost { lines.append("fitted: \(Self.describe(cost, samples))") }
    return lines.joined(separator: "\n") + "\n"
  }

  static func describe(_ cost: AllReduceCost, _ samples: [AllReduceCost.Sample]) -> String {
    let rate =
      cost.secondsPerByte > 0
      ? "\((1e-9 / cost.secondsPerByte).fixed(2)) GB/s" : "no bound on bytes"
    return "\((cost.latency * 1e6).fixed(0)) us a message and \(rate), within "
      + "\((100 * cost.worstError(of: samples)).fixed(0)) % of what was measured"
  }
}
