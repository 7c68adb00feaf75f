import Checkpoints
public import Collectives
import Foundation

/// A directory that the processes of a run write together, and that appears under its name only when it is
/// whole.
///
/// Rank 0 makes it (`AtomicDirectory`) and puts a file with a random text into it. A process that finds that
/// text where it would look for the directory is on the same disk and writes there itself; the same path on
/// the disk of another machine has not got it. What goes wrong on one process is told to all: each of them
/// throws, the unfinished directory is removed, and one that had the name before stays as it was.
///
/// All processes make the same calls: ``init(_:in:)``, ``write(_:)``, ``commit(after:)``.
public final class SharedDirectory {
  private let group: ProcessGroup
  private let path: String
  /// On rank 0.
  private let output: AtomicDirectory?
  /// Where this process writes until ``commit(after:)``; nil where it does not see the directory.
  public let temporaryPath: String?

  /// Name of the file by which processes know the directory.
  private static let mark = ".shared"

  /// Makes the directory.
  ///
  /// - Parameters:
  ///   - path: Its final path as this process would open it; rank 0 makes the directories above it.
  ///   - group: The processes.
  /// - Throws: `CheckpointError` on rank 0 when it cannot be made, and then, or when another process is gone,
  ///   `CollectiveError` on the others.
  public init(_ path: String, in group: ProcessGroup) throws {
    self.path = path
    self.group = group
    var made: AtomicDirectory?
    var trouble: (any Error)?
    let token = (0..<2).map { _ in String(UInt64.random(in: .min ... .max), radix: 16) }.joined()
    if group.rank == 0 {
      do {
        try makeParentDirectory(of: path)
        made = try AtomicDirectory(path: path, existing: .replace)
        try made.map { try AtomicFile.write(path: $0.path(of: Self.mark), text: token) }
      } catch { trouble = error }
    }
    output = made
    let name = made.map { lastComponent(of: $0.temporaryPath) } ?? ""
    let names = try group.allGather(name, "name of the directory")
    let tokens = try group.allGather(group.rank == 0 ? token : "", "mark of the directory")
    if group.rank == 0 {
      temporaryPath = made?.temporaryPath
    } else {
      let place = "\(parentDirectory(of: path))/\(names[0])"
      let found = try? String(contentsOfFile: "\(place)/\(Self.mark)", encoding: .utf8)
      temporaryPath = found == tokens[0] ? place : nil
    }
    try Self.settle(trouble, group, "made the directory")
  }

  /// Lets each process that sees the directory write its files there.
  ///
  /// - Parameter body: Writes; the files are to be flushed when it returns.
  /// - Returns: For each rank whether it sees the directory; rank 0 does.
  /// - Throws: What `body` throws, with the final path; `CollectiveError` where another process's has thrown,
  ///   or is gone.
  public func write(_ body: (_ directory: String) throws -> Void) throws -> [Bool] {
    var trouble: (any Error)?
    if let temporaryPath {
      do { try body(temporaryPath) } catch { trouble = error }
    }
    try Self.settle(named(trouble), group, "wrote into the directory")
    return try group.allGather([temporaryPath == nil ? 0 : 1], "who sees the directory")
      .map { $0[0] > 0 }
  }

  /// Gives the directory its name.
  ///
  /// - Parameter trouble: What has gone wrong on rank 0 since ``write(_:)``; the directory is then removed.
  /// - Throws: That, or `CheckpointError` where rank 0 cannot rename it; `CollectiveError` on the others.
  public func commit(after trouble: (any Error)? = nil) throws {
    var trouble = trouble
    if let output, trouble == nil {
      do {
        try removeFile(output.path(of: Self.mark))
        try output.commit()
      } catch { trouble = error }
    }
    try Self.settle(named(trouble), group, "named the directory")
  }

  /// An error of writing names the path that was asked for.
  private func named(_ error: (any Error)?) -> (any Error)? {
    guard let error = error as? CheckpointError, let temporaryPath else { return error }
    return error.renaming(temporaryPath, to: path)
  }

  /// Tells all processes what went wrong on this one.
  private static func settle(
    _ trouble: (any Error)?, _ group: ProcessGroup, _ label: String
  ) throws {
    // A group that has failed is of no more use.
    if let trouble = trouble as? CollectiveError { throw trouble }
    let all = try group.allGather(trouble.map { "!\($0)" } ?? "", label)
    if let trouble { throw trouble }
    guard let rank = all.indices.first(where: { !all[$0].isEmpty }) else { return }
    throw CollectiveError.peer(
      reason: "rank \(rank) could not save: \(all[rank].dropFirst())", states: [])
  }
}
