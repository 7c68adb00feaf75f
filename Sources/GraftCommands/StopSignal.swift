import Foundation

/// SIGINT and SIGTERM as a wish to save and stop.
enum StopSignal {
  // Written by the signal handler, or before it is installed.
  nonisolated(unsafe) private static var caught: sig_atomic_t = 0
  nonisolated(unsafe) private static var canSave: sig_atomic_t = 0
  nonisolated(unsafe) private static var counted: sig_atomic_t = 0

  /// Whether one came.
  static var wasCaught: Bool { caught != 0 }

  /// From now on a signal ends the process with 130: there is nothing to save yet.
  static func catchSignals() {
    unblock()
    for number in [SIGINT, SIGTERM] {
      signal(number) { number in
        if StopSignal.canSave == 0 { _exit(ExitCode.stoppedWithoutCheckpoint.rawValue) }
        StopSignal.caught = 1
        signal(number, SIG_DFL)
      }
    }
  }

  /// From now on signals are only counted, for a process that ends when others have ended.
  static func countSignals() {
    unblock()
    for number in [SIGINT, SIGTERM] { signal(number) { _ in StopSignal.counted += 1 } }
  }

  /// From now on a signal ends the process as if nobody looked at it.
  static func endsProcess() {
    unblock()
    for number in [SIGINT, SIGTERM] { signal(number, SIG_DFL) }
  }

  /// Signals that ``countSignals()`` has counted.
  static var count: Int { Int(counted) }

  /// A parent that blocks them in the thread from which it starts programs hands that down.
  private static func unblock() {
    var mask = sigset_t()
    sigemptyset(&mask)
    sigaddset(&mask, SIGINT)
    sigaddset(&mask, SIGTERM)
    pthread_sigmask(SIG_UNBLOCK, &mask, nil)
  }

  /// From now on a signal sets a flag, and a second one ends the process.
  static func saveWhenCaught() { canSave = 1 }
}
