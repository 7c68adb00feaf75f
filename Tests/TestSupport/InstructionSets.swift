import CKernels
import Synchronization

/// The choice of an instruction set is the process's: tests that make it take turns.
private let turn = Mutex(())

/// Runs a body once with each instruction set that the processor has, the least first.
///
/// - Parameter body: What to run.
/// - Throws: What `body` throws.
public func withEachInstructionSet(_ body: (_ set: Int) throws -> Void) rethrows {
  try turn.withLock { _ in
    defer { graft_set_instruction_set(-1) }
    for set in Int(GRAFT_SCALAR)...Int(graft_best_instruction_set()) {
      graft_set_instruction_set(Int32(set))
      try body(set)
    }
  }
}

/// Runs a body once with each instruction set that the processor has, the least first.
///
/// - Parameter body: What to run.
/// - Throws: What `body` throws.
public func withEachInstructionSet(_ body: () throws -> Void) rethrows {
  try withEachInstructionSet { _ in try body() }
}
