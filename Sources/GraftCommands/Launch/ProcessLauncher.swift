import Collectives
import CommandLineParsing
import Foundation

/// Starts the ranks of this machine, looks after them, and starts them anew after a failure.
///
/// The launcher of node 0 opens the store at which the ranks meet, so that it outlives each of them.
struct ProcessLauncher {
  /// Ranks on this machine.
  let processes: Int
  /// Machines.
  let nodes: Int
  /// Number of this machine, from 0.
  let node: Int
  /// How often the ranks may be started anew.
  let maximumRestarts: Int
  /// Threads of a rank; nil for its share of the cores, or what OMP_NUM_THREADS says.
  let threads: Int?
  /// Words behind the program's name.
  let command: [String]
  let store: RendezvousStore
  let console: Console

  /// Seconds after a failure in which the other ranks may say what they see.
  private static let grace = 4.0
  /// Seconds between the wish and the order to end.
  private static let patience = 3.0

  /// Runs to the end.
  ///
  /// - Returns: 0, the code of the rank that failed first, or that of a run which was stopped.
  func run() throws -> ExitCode {
    for attempt in 0...maximumRestarts {
      try meet("launch/\(attempt)/ready")
      let end = try runOnce(attempt)
      switch end {
      case .done:
        try? meet("launch/done")
        return .done
      case .stopped(let code): return code
      case .failed(let code, let canRepeat):
        guard attempt < maximumRestarts, canRepeat else { return code }
        console.log("graft launch: starting anew, \(attempt + 1) of \(maximumRestarts) times")
      }
    }
    return .internalError
  }

  private enum End {
    case done
    case stopped(ExitCode)
    case failed(ExitCode, canRepeat: Bool)
  }

  /// Waits for the launchers of the other machines.
  private func meet(_ key: String) throws {
    guard nodes > 1 else { return }
    try store.set("\(key)/\(node)", "")
    for other in 0..<nodes {
      do {
        _ = try store.get("\(key)/\(other)")
      } catch {
        throw CollectiveError.rendezvous(
          place: "\(store.host):\(store.port)",
          reason: "graft launch of node \(other) did not come within "
            + "\(store.timeout.components.seconds) s")
      }
    }
  }

  private func runOnce(_ attempt: Int) throws -> End {
    // Until now a signal ended the launcher: nobody was there to be asked.
    StopSignal.countSignals()
    defer { StopSignal.endsProcess() }
    let program = Bundle.main.executablePath ?? CommandLine.arguments[0]
    var ranks: [RankProcess] = []
    do {
      for local in 0..<processes {
        let rank = node * processes + local
        ranks.append(
          try RankProcess(
            rank: rank, program: program, arguments: command,
            environment: environment(rank: rank, local: local, attempt: attempt)))
      }
    } catch {
      for rank in ranks { rank.send(SIGKILL) }
      throw error
    }
    var watch = RankWatch(ranks: ranks)
    var (reported, signals) = (false, 0)
    let others = nodes > 1 ? NodeWatch(store, attempt: attempt) : nil
    defer { others?.end() }
    while ranks.contains(where: \.isRunning) {
      usleep(20_000)
      if signals < StopSignal.count {
        // The first asks the ranks to save and stop, the second ends them.
        for rank in ranks { rank.send(signals == 0 ? SIGTERM : SIGKILL) }
        signals = StopSignal.count
      }
      for rank in watch.newlyEnded() where rank.code != 0 && !Self.stopCodes.contains(rank.code) {
        rank.finishOutput()
        console.log("graft launch: rank \(rank.rank) \(rank.code.processEnd)")
      }
      if let failure = watch.firstFailure, !reported {
        reported = true
        others?.report("node \(node): rank \(failure.rank) \(failure.code.processEnd)")
      }
      if !reported, let failure = others?.takeFailure() {
        reported = true
        watch.beginEnding()
        console.log("graft launch: \(failure)")
      }
      watch.end(after: Self.grace, by: Self.patience)
    }
    _ = watch.newlyEnded()
    for rank in ranks { rank.finishOutput() }
    return outcome(ranks, watch.cause, failedElsewhere: reported && watch.cause == nil)
  }

  private static let stopCodes = [
    ExitCode.stoppedWithCheckpoint.rawValue, ExitCode.stoppedWithoutCheckpoint.rawValue,
  ]

  private func outcome(
    _ ranks: [RankProcess], _ cause: RankProcess?, failedElsewhere: Bool
  ) -> End {
    guard let cause else {
      if failedElsewhere { return .failed(.peerGone, canRepeat: true) }
      if let code = ranks.map(\.code).first(where: Self.stopCodes.contains) {
        return .stopped(ExitCode(rawValue: code) ?? .internalError)
      }
      return .done
    }
    let words = cause.lastWords.map { ": \($0)" } ?? ""
    console.log(
      "graft launch: rank \(cause.rank) failed first; it \(cause.code.processEnd)\(words)")
    if StopSignal.count > 0 {
      return .stopped(.stoppedWithoutCheckpoint)
    }
    let code = ExitCode(rawValue: cause.code) ?? .internalError
    // What was wrong with the command or its files is wrong the next time too.
    let isLasting = [.usage, .badData, .missingInput, .cannotWrite].contains(code)
    return .failed(code, canRepeat: cause.code < 0 || !isLasting)
  }

  /// The variables that torchrun sets.
  private func environment(rank: Int, local: Int, attempt: Int) -> [String: String] {
    var variables = ProcessInfo.processInfo.environment
    let all: [String: String] = [
      "RANK": "\(rank)", "WORLD_SIZE": "\(nodes * processes)", "LOCAL_RANK": "\(local)",
      "LOCAL_WORLD_SIZE": "\(processes)", "GROUP_RANK": "\(node)", "GROUP_WORLD_SIZE": "\(nodes)",
      "MASTER_ADDR": store.host, "MASTER_PORT": "\(store.port)",
      "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "\(attempt)",
      "TORCHELASTIC_MAX_RESTARTS": "\(maximumRestarts)",
    ]
    variables.merge(all) { $1 }
    if let threads {
      variables["OMP_NUM_THREADS"] = "\(threads)"
    } else if variables["OMP_NUM_THREADS"]?.isEmpty ?? true {
      variables["OMP_NUM_THREADS"] =
        "\(max(1, ProcessInfo.processInfo.activeProcessorCount / processes))"
    }
    // The OpenMP of LibTorch would spin for work while another process needs the core.
    if variables["OMP_WAIT_POLICY"] == nil { variables["OMP_WAIT_POLICY"] = "PASSIVE" }
    return variables
  }
}
