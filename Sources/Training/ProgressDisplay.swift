public import Foundation

/// Shows how far a run is: a bar on a terminal, lines in a pipe, or nothing.
public final class ProgressDisplay {
  /// How progress is shown.
  public enum Kind: Equatable, Sendable {
    /// One line that is drawn again and again.
    case live
    /// One line a logged step.
    case plain
    /// Nothing.
    case quiet
  }

  /// How progress is shown.
  public let kind: Kind
  private let totalSteps: Int
  private let output: FileHandle
  private let fixedWidth: Int?
  private var isDrawn = false

  /// Makes a display.
  ///
  /// - Parameters:
  ///   - kind: How progress is shown; nil for `.live` where `output` is a terminal that can go
  ///     back in a line, `.plain` elsewhere.
  ///   - totalSteps: Updates of the whole run.
  ///   - output: Where to write.
  ///   - width: Columns of the terminal; nil to ask it before each drawing.
  public init(
    kind: Kind? = nil, totalSteps: Int, output: FileHandle = .standardError, width: Int? = nil
  ) {
    let canRedraw =
      isatty(output.fileDescriptor) != 0 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    self.kind = kind ?? (canRedraw ? .live : .plain)
    self.totalSteps = totalSteps
    self.output = output
    fixedWidth = width
  }

  /// Shows a logged step.
  ///
  /// - Parameters:
  ///   - step: Updates made.
  ///   - loss: Loss to show.
  ///   - tokensPerSecond: Speed to show.
  ///   - seconds: Time since the first update that this process made, for the remaining time.
  ///   - startStep: Updates that an earlier process made.
  public func update(
    step: Int, loss: Double, tokensPerSecond: Double, seconds: Double, startStep: Int = 0
  ) {
    guard kind != .quiet else { return }
    let made = step - startStep
    let remaining =
      made > 0 && seconds > 0 ? seconds / Double(made) * Double(max(0, totalSteps - step)) : nil
    let speed = tokensPerSecond.isFinite ? "\(Int(min(tokensPerSecond, 1e15)))" : "?"
    let parts = [
      "step \(step)/\(totalSteps)", "loss \(fixed(loss))", "\(speed) tokens/s",
      "\(remaining.map(ProgressDisplay.clock) ?? "?") left",
    ]
    if kind == .plain {
      write(parts.joined(separator: "  ") + "\n")
    } else {
      write("\r\u{1B}[K" + line(parts, step: step))
      isDrawn = true
    }
  }

  /// Writes a line of text; a bar that is on the screen moves below it with the next update.
  ///
  /// - Parameter text: The line.
  public func message(_ text: String) {
    guard kind != .quiet else { return }
    write((isDrawn ? "\r\u{1B}[K" : "") + text + "\n")
    isDrawn = false
  }

  /// Leaves the last state of the bar on the screen and goes to the next line.
  public func finish() {
    if isDrawn { write("\n") }
    isDrawn = false
  }

  /// The bar and as many of the texts as fit; the last column stays free, so that nothing wraps.
  private func line(_ parts: [String], step: Int) -> String {
    let room = max(1, (fixedWidth ?? terminalWidth()) - 1)
    var texts = parts
    while texts.count > 1 && texts.joined(separator: "  ").utf8.count > room { texts.removeLast() }
    let text = texts.joined(separator: "  ")
    let barWidth = min(40, room - text.utf8.count - 4)
    guard barWidth >= 5 else { return String(text.prefix(room)) }
    let share = totalSteps > 0 ? Double(step) / Double(totalSteps) : 1
    let done = Int(Double(barWidth) * min(1, max(0, share)))
    let bar =
      String(repeating: "#", count: done) + String(repeating: ".", count: barWidth - done)
    return "[\(bar)]  \(text)"
  }

  private func terminalWidth() -> Int {
    var size = winsize()
    let answered = ioctl(output.fileDescriptor, UInt(TIOCGWINSZ), &size) == 0
    if answered && size.ws_col > 0 { return Int(size.ws_col) }
    return ProcessInfo.processInfo.environment["COLUMNS"].flatMap { Int($0) } ?? 80
  }

  /// Seconds as `m:ss` or `h:mm:ss`.
  private static func clock(_ seconds: Double) -> String {
    let total = Int(min(seconds, 1e12).rounded())
    func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
    let (hours, minutes) = (total / 3600, total / 60 % 60)
    return hours > 0
      ? "\(hours):\(two(minutes)):\(two(total % 60))" : "\(minutes):\(two(total % 60))"
  }

  /// Progress is no reason to end a run: a closed pipe or terminal is not an error here.
  private func write(_ text: String) { try? output.write(contentsOf: Data(text.utf8)) }
}
