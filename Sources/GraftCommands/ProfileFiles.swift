import Checkpoints
import CommandLineParsing
import Distributed
import JSONValues
import Training

/// What `graft train --profile` leaves in the run's directory and shows.
final class ProfileFiles {
  /// The trace that Perfetto opens.
  static let trace = "profile.json"
  /// The tables, with every block and kernel.
  static let tables = "profile.txt"

  private let directory: String
  private let wanted: Int?
  private var profile: StepProfile?

  /// Files in a run's directory, which may not be there yet.
  ///
  /// - Throws: `UsageError` for a step that the run does not come to.
  init(_ options: TrainingOptions, steps: Int, directory: String) throws {
    self.directory = directory
    wanted = options.profiledUpdate
    if let wanted, wanted > steps {
      throw UsageError("--profile \(wanted): the run has \(steps) steps; choose one of them")
    }
  }

  /// Writes both files.
  func write(_ profile: StepProfile) throws {
    self.profile = profile
    try AtomicFile.write(
      path: "\(directory)/\(Self.trace)", text: profile.trace.serialized() + "\n")
    try AtomicFile.write(path: "\(directory)/\(Self.tables)", text: profile.details)
  }

  /// Shows the tables; says so where the run ended before the step.
  func show(_ console: Console, asJSON: Bool) {
    guard let profile else {
      if let wanted { console.log("--profile \(wanted): the run ended before that step") }
      return
    }
    guard !asJSON else { return }
    console.write(
      profile.summary + "\nall of it: \(directory)/\(Self.tables); as a trace for "
        + "https://ui.perfetto.dev: \(directory)/\(Self.trace)\n\n")
  }

  /// What `--json` says of it; nil where nothing was profiled.
  var json: JSON? {
    profile.map { profile in
      func seconds(_ time: Int) -> JSON { .number(Double(time) / 1e9) }
      let exchange: JSON? = profile.exchange.map {
        [
          "messages": .integer($0.messages), "begun_in_pass": .integer($0.begun),
          "done_in_pass": .integer($0.ended), "seconds": .number($0.seconds),
          "waited_seconds": .number($0.waited),
        ]
      }
      return [
        "exchange": exchange ?? .null, "step": .integer(profile.step),
        "seconds": seconds(profile.duration),
        "phases": .object(
          JSONObject(profile.phases.map { ($0.name, seconds($0.total)) })),
        "held_bytes": .integer(profile.heldMost), "trace": .string("\(directory)/\(Self.trace)"),
        "tables": .string("\(directory)/\(Self.tables)"),
      ]
    }
  }
}
