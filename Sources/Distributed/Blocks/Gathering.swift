import Collectives
import Dispatch

/// Operations of processes that are done in the background of one of them.
final class Gathering: @unchecked Sendable {  // Read behind the signal.
  private let done = DispatchSemaphore(value: 0)
  private var error: (any Error)?

  /// Begins.
  init(_ group: ProcessGroup, _ operations: @escaping @Sendable () throws -> Void) {
    group.background.async { [self] in
      do { try operations() } catch { self.error = error }
      done.signal()
    }
  }

  /// Waits for the end, once.
  func wait() throws {
    done.wait()
    if let error { throw error }
  }
}
