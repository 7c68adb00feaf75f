import Collectives
import CommandLineParsing
import Foundation
import Tensors

/// `graft train` as one of several processes, whoever started them.
enum TrainingProcesses {
  /// Runs training with the processes that the environment tells of, or alone where it tells of none.
  ///
  /// A process that fails says so to the others and ends at once: operations that wait for a process
  /// which is gone cannot be taken back.
  static func share(
    _ given: ParsedArguments, _ console: Console,
    _ body: (ParsedArguments, Console, ProcessGroup?) throws -> ExitCode
  ) throws -> ExitCode {
    let variables = ProcessInfo.processInfo.environment
    guard !given[TrainOptions.printRecipe], let world = try World.detect(variables) else {
      return try body(given, console, nil)
    }
    try setThreads(given, world, variables)
    let group = joined(
      world, console, patience: try seconds("GRAFT_WATCHDOG_SECONDS", variables, default: 5),
      timeout: try seconds("GRAFT_RENDEZVOUS_SECONDS", variables, default: 120))
    var (given, own) = (given, console)
    if !given[TrainOptions.quiet] { console.log("\(world)") }
    if world.rank > 0 {
      own.isSilent = true
      try given.merge([("quiet", "true")], source: "rank \(world.rank)")
    }
    do {
      if try goesOn(given, group) { try given.merge([("resume", "")], source: "the launcher") }
      let code = try body(given, own, group)
      try group.leave()
      return code
    } catch {
      group.abandon(because: error)
      console.log("graft: \(error)")
      fflush(nil)
      _exit(ExitCode(of: error).rawValue)
    }
  }

  /// Joins the others; where that fails the process ends, as threads that wait cannot be stopped.
  ///
  /// - Parameters:
  ///   - world: Place of this process.
  ///   - console: Where the error goes.
  ///   - patience: Seconds that another process may be silent.
  ///   - timeout: Seconds that the others may take to arrive.
  /// - Returns: The group.
  static func joined(
    _ world: World, _ console: Console, patience: Double = 5, timeout: Double = 120
  ) -> ProcessGroup {
    do {
      return try ProcessGroup.join(
        world, patience: patience, rendezvousTimeout: .seconds(timeout))
    } catch {
      console.log("graft: \(error)")
      fflush(nil)
      _exit(ExitCode(of: error).rawValue)
    }
  }

  /// Notes that the run's directory holds what this launch began, so that a later attempt goes on.
  static func markBegun(_ group: ProcessGroup) throws { try group.store.set(begun, "") }

  private static let begun = "graft/begun"

  /// Whether an earlier attempt of the same launch has begun the run.
  ///
  /// What stands in the directory from an earlier launch does not count.
  private static func goesOn(_ given: ParsedArguments, _ group: ProcessGroup) throws -> Bool {
    guard group.world.attempt > 0, given[TrainOptions.resume] == nil else { return false }
    return try group.store.has(begun)
  }

  private static func setThreads(
    _ given: ParsedArguments, _ world: World, _ variables: [String: String]
  ) throws {
    guard given[ModelOptions.threads] == nil, variables["OMP_NUM_THREADS"] ?? "" == "" else {
      return
    }
    Runtime.threadCount = max(1, ProcessInfo.processInfo.activeProcessorCount / world.localSize)
  }

  private static func seconds(
    _ name: String, _ variables: [String: String], default value: Double
  ) throws -> Double {
    guard let text = variables[name], !text.isEmpty else { return value }
    guard let number = Double(text), 1...86400 ~= number else {
      throw UsageError("\(name) is '\(text)', expected seconds from 1 to 86400")
    }
    return number
  }
}
