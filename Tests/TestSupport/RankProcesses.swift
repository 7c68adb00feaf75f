public import Collectives
import Foundation

/// Ranks of one run as processes on this machine, which meet at a store that the test holds.
public struct RankProcesses {
  /// The ranks.
  public let ranks: [GraftProcess]
  /// Where they meet.
  public let store: RendezvousStore

  /// Starts them.
  ///
  /// - Parameters:
  ///   - count: How many there are.
  ///   - arguments: Words behind the program's name.
  ///   - program: A program of this package.
  ///   - directory: Their working directory; nil for the current one.
  ///   - present: Ranks that are started; nil for all.
  ///   - variables: What their environment has besides.
  /// - Throws: When one cannot be started.
  public init(
    _ count: Int, _ arguments: [String], program: String = "CollectivesPeer",
    directory: String? = nil, present: [Int]? = nil, variables: [String: String] = [:]
  ) throws {
    let store = try RendezvousStore(host: "127.0.0.1", port: 0, opens: true)
    self.store = store
    ranks = try (present ?? Array(0..<count)).map { rank in
      try GraftProcess(
        arguments, program: program, directory: directory,
        variables: [
          "RANK": "\(rank)", "WORLD_SIZE": "\(count)", "LOCAL_RANK": "\(rank)",
          "LOCAL_WORLD_SIZE": "\(count)", "MASTER_ADDR": "127.0.0.1",
          "MASTER_PORT": "\(store.port)", "TORCHELASTIC_USE_AGENT_STORE": "True",
        ].merging(variables) { $1 })
    }
  }

  /// Waits for the end of all.
  public func wait() throws -> [GraftProcess.Result] { try ranks.map { try $0.wait() } }

  /// Starts them and waits for their end.
  ///
  /// - Parameters:
  ///   - count: How many there are.
  ///   - arguments: Words behind the program's name.
  /// - Returns: What each left.
  /// - Throws: When one cannot be started.
  public static func run(_ count: Int, _ arguments: [String]) throws -> [GraftProcess.Result] {
    let processes = try RankProcesses(count, arguments)
    defer { withExtendedLifetime(processes) {} }
    return try processes.wait()
  }
}
