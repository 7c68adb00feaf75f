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

  /// Makes operators trap that have no deterministic kernel on their device.
  ///
  /// - Parameter enabled: Whether only deterministic kernels may run.
  public static func requireDeterminism(_ enabled: Bool) { ctorch_set_deterministic(enabled) }
}
