import Foundation
import Synchronization

/// One rank as a process of its own, whose output is handed on line by line with a label.
///
/// What rank 0 writes to standard output are the command's results; they go on without a label.
final class RankProcess: Sendable {
  let rank: Int
  private let process = Process()
  private let lines = Mutex<[String]>([])
  private let readers = DispatchGroup()

  /// Starts it.
  ///
  /// - Parameters:
  ///   - rank: Its number, for the label.
  ///   - program: Path of the program.
  ///   - arguments: Words behind its name.
  ///   - environment: Its variables.
  /// - Throws: When it cannot be started.
  init(rank: Int, program: String, arguments: [String], environment: [String: String]) throws {
    self.rank = rank
    let (output, errors) = (Pipe(), Pipe())
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.environment = environment
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    relay(output, to: .standardOutput, label: rank == 0 ? "" : "[\(rank)] ", keeps: false)
    relay(errors, to: .standardError, label: "[\(rank)] ", keeps: true)
  }

  /// Whether it has not ended.
  var isRunning: Bool { process.isRunning }

  /// How it ended: exit code, or the negative number of the signal.
  var code: Int32 {
    let status = process.terminationStatus
    return process.terminationReason == .uncaughtSignal ? -status : status
  }

  /// The last line of its standard error that says something.
  var lastWords: String? { lines.withLock { $0.last } }

  /// Sends a signal.
  func send(_ signal: Int32) {
    if process.isRunning { kill(process.processIdentifier, signal) }
  }

  /// Waits until all of its output is handed on, but not for output of processes that it left behind.
  func finishOutput() { _ = readers.wait(timeout: .now() + 1) }

  private func relay(_ pipe: Pipe, to target: FileHandle, label: String, keeps: Bool) {
    let (source, prefix) = (pipe.fileHandleForReading, Data(label.utf8))
    readers.enter()
    let thread = Thread { [self] in
      var rest = Data()
      while true {
        let chunk = source.availableData
        rest += chunk
        var whole = Data()
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
          let line = rest[rest.startIndex...end]
          whole += prefix + line
          if keeps { keep(line) }
          rest = Data(rest[(end + 1)...])
        }
        if chunk.isEmpty, !rest.isEmpty {
          whole += prefix + rest + Data([UInt8(ascii: "\n")])
          if keeps { keep(rest) }
        }
        // Lines of different ranks are whole, as each goes out by one call.
        if !whole.isEmpty { try? target.write(contentsOf: whole) }
        if chunk.isEmpty { break }
      }
      readers.leave()
    }
    thread.start()
  }

  private func keep(_ line: Data) {
    let text = String(decoding: line, as: UTF8.self)
      .trimmingCharacters(in: .whitespacesAndNewlines)
    guard !text.isEmpty else { return }
    lines.withLock { lines in
      lines.append(text)
      if lines.count > 40 { lines.removeFirst() }
    }
  }
}

extension Int32 {
  /// How a process ended, in words.
  var processEnd: String {
    guard self < 0 else { return "ended with code \(self)" }
    let names: [Int32: String] = [
      SIGKILL: "SIGKILL, by somebody or for lack of memory", SIGTERM: "SIGTERM",
      SIGSEGV: "SIGSEGV, a fault of the program", SIGABRT: "SIGABRT, a fault of the program",
      SIGBUS: "SIGBUS, a file that was cut short or a full memory disk", SIGINT: "SIGINT",
    ]
    return "was killed by \(names[-self] ?? "signal \(-self)")"
  }
}
