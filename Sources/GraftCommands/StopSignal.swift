import Foundation

/// SIGINT and SIGTERM as a wish to save and stop.
enum StopSignal {
  /// Written by the signal handler only.
  nonisolated(unsafe) private static var caught: sig_atomic_t = 0

  /// Whether one came.
  static var wasCaught: Bool { caught != 0 }

  /// From now on they set a flag instead of ending the process; a second one ends it.
  static func catchSignals() {
    for number in [SIGINT, SIGTERM] {
      signal(number) { number in
        StopSignal.caught = 1
        signal(number, SIG_DFL)
      }
    }
  }
}
