import CTorch

/// Settings of the engine that hold for the whole process.
public enum Runtime {
  /// LibTorch's version, for example "2.13.0".
  public static var libTorchVersion: String { String(cString: ctorch_version()) }

  /// Threads that one operator may use on the processor.
  public static var threadCount: Int {
    get { Int(ctorch_thread_count()) }
    set {
      precondition(newValue > 0, "Runtime.threadCount: \(newValue) is not a number of threads")
      ctorch_set_thread_count(Int32(newValue))
    }
  }

  /// Hands memory of large tensors that are gone to the system.
  ///
  /// It is kept for the tensors that come, as each page costs time when it is new. The environment variable
  /// `GRAFT_ALLOCATOR` with the value `system` leaves LibTorch's own allocator in place instead.
  ///
  /// - Returns: Bytes that were handed back.
  @discardableResult
  public static func releaseFreeMemory() -> Int { Int(ctorch_release_free_memory()) }

  /// Whether float32 products on the processor may come from another library than LibTorch's default.
  ///
  /// On processors with AVX-512 they come from our own kernel (`CKernels/Float32Product.c`), elsewhere from
  /// oneDNN, which picks its kernels by what the processor can do, where the default library has slow ones
  /// for some makers' (figures: Benchmarks/peers/matrix_products.py). Sums are rounded in another
  /// order: results differ from those of other programs over LibTorch in the last digits, which they
  /// otherwise often share. ``Trainer`` takes them for its steps.
  public static var usesFastProducts: Bool { takesFastProducts }
  @TaskLocal private static var takesFastProducts = false

  /// Runs something with ``usesFastProducts``, whatever others on other threads do meanwhile.
  ///
  /// - Parameter body: What is run.
  /// - Returns: What it returns.
  public static func withFastProducts<Result>(
    _ body: () throws -> Result
  ) rethrows -> Result {
    try $takesFastProducts.withValue(true, operation: body)
  }

  /// Splits a range over LibTorch's threads.
  ///
  /// - Parameters:
  ///   - range: What to go through.
  ///   - grain: Least size of a part; a range that is not larger is done by the caller alone.
  ///   - body: Gets disjoint parts, at the same time on several threads.
  public static func parallelFor(
    _ range: Range<Int>, grain: Int, _ body: @Sendable (Range<Int>) -> Void
  ) {
    withoutActuallyEscaping(body) { body in
      let context = ParallelBody(body)
      ctorch_parallel_for(
        Int64(range.lowerBound), Int64(range.upperBound), Int64(max(grain, 1)),
        Unmanaged.passUnretained(context).toOpaque()
      ) { context, begin, end in
        Unmanaged<ParallelBody>.fromOpaque(context).takeUnretainedValue()
          .body(Int(begin)..<Int(end))
      }
      withExtendedLifetime(context) {}
    }
  }

  private final class ParallelBody: Sendable {
    let body: @Sendable (Range<Int>) -> Void
    init(_ body: @escaping @Sendable (Range<Int>) -> Void) { self.body = body }
  }

  /// Makes operators trap that have no deterministic kernel on their device.
  ///
  /// - Parameter enabled: Whether only deterministic kernels may run.
  public static func requireDeterminism(_ enabled: Bool) { ctorch_set_deterministic(enabled) }
}
