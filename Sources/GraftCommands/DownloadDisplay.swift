import Checkpoints
import Foundation
import Synchronization

/// Progress of a download on standard error: a bar on a terminal, lines in a pipe.
final class DownloadDisplay: Sendable {
  private struct State {
    var files = 0
    var total = 0
    var finished: Set<String> = []
    var bytes: [String: Int] = [:]
    /// Bytes of each file that were there before.
    var found: [String: Int] = [:]
    var start = Date()
    var lastDrawn = Date.distantPast
    var isDrawn = false

    var received: Int { bytes.values.reduce(0, +) }
    var fetched: Int { max(0, received - found.values.reduce(0, +)) }
  }

  private let console = Console()
  private let isQuiet: Bool
  private let isLive: Bool
  private let state = Mutex(State())

  /// Seconds between two lines of progress in a pipe, and between two drawings of the bar.
  private static let pause = (plain: 10.0, live: 0.1)

  init(isQuiet: Bool) {
    self.isQuiet = isQuiet
    isLive = console.isTerminal && ProcessInfo.processInfo.environment["TERM"] != "dumb"
  }

  /// Shows news; called on several threads.
  func show(_ news: HubProgress) {
    state.withLock { state in
      switch news {
      case .planned(let model, let files, let bytes):
        state.files = files
        state.total = bytes
        state.start = Date()
        state.lastDrawn = Date()
        state.bytes = [:]
        state.found = [:]
        state.finished = []
        message("\(model): \(files) files, \(Self.size(bytes))", &state)
      case .received(let file, let bytes):
        state.found[file] = min(state.found[file] ?? bytes, bytes)
        state.bytes[file] = bytes
        draw(&state)
      case .finished(let file):
        let size = state.bytes[file] ?? 0
        state.finished.insert(file)
        if !isLive { message("\(file): \(Self.size(size))", &state) }
      case .waiting(let file):
        message("\(file): another program is fetching it; waiting", &state)
      case .retrying(let file, let reason, let seconds):
        message(
          "\(file): \(reason); " + (seconds > 0 ? "again in \(seconds.fixed(1)) s" : "once more"),
          &state)
      case .note(let text): message(text, &state, always: true)
      }
    }
  }

  /// Leaves the last state of the bar on the screen.
  func end() {
    state.withLock { state in
      guard state.isDrawn else { return }
      console.redraw(Self.line(state) + "\n")
      state.isDrawn = false
    }
  }

  private func message(_ text: String, _ state: inout State, always: Bool = false) {
    guard !isQuiet || always else { return }
    if state.isDrawn { console.redraw("") }
    state.isDrawn = false
    console.log(text)
  }

  private func draw(_ state: inout State) {
    let pause = isLive ? Self.pause.live : Self.pause.plain
    guard !isQuiet, state.files > 0, -state.lastDrawn.timeIntervalSinceNow >= pause else { return }
    state.lastDrawn = Date()
    if isLive {
      console.redraw(Self.line(state))
      state.isDrawn = true
    } else {
      console.log(Self.line(state))
    }
  }

  /// Less than 80 columns.
  private static func line(_ state: State) -> String {
    let received = state.received
    let seconds = max(-state.start.timeIntervalSinceNow, 1e-3)
    let speed = Double(state.fetched) / seconds
    var parts = ["\(size(received)) of \(size(state.total))", "\(size(Int(speed)))/s"]
    if speed > 0, state.total > received {
      parts.append("\(clock(Double(state.total - received) / speed)) left")
    }
    parts.append("\(state.finished.count)/\(state.files) files")
    let share = state.total > 0 ? min(1, Double(received) / Double(state.total)) : 1
    let done = Int(20 * share)
    let bar = String(repeating: "#", count: done) + String(repeating: ".", count: 20 - done)
    return "[\(bar)]  " + parts.joined(separator: "  ")
  }

  private static func size(_ bytes: Int) -> String {
    var value = Double(bytes)
    for unit in ["bytes", "kB", "MB", "GB"] {
      if value < 1000 { return unit == "bytes" ? "\(bytes) bytes" : "\(value.fixed(1)) \(unit)" }
      value /= 1000
    }
    return "\(value.fixed(1)) TB"
  }

  private static func clock(_ seconds: Double) -> String {
    let total = Int(min(seconds, 359_999).rounded())
    let minutes = String(format: "%d:%02d", total / 60 % 60, total % 60)
    return total < 3600
      ? minutes : String(format: "%d:%02d:%02d", total / 3600, total / 60 % 60, total % 60)
  }
}
