import Foundation

/// Most memory that this process has held.
public enum PeakMemory {
  /// Peak resident set size in bytes, or 0 where the system does not tell.
  ///
  /// Linux resets the number of `/proc` with a new program and that of `getrusage` not, so the
  /// first is asked first.
  public static var bytes: Int { highWaterMark() ?? resourceUsage() ?? 0 }

  private static func highWaterMark() -> Int? {
    guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
      let kilobytes = line.split(whereSeparator: { !$0.isNumber }).first.flatMap({ Int($0) })
    else { return nil }
    return kilobytes * 1024
  }

  private static func resourceUsage() -> Int? {
    var usage = rusage()
    #if canImport(Darwin)
      guard getrusage(RUSAGE_SELF, &usage) == 0 else { return nil }
      return Int(usage.ru_maxrss)
    #else
      guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return nil }
      return Int(usage.ru_maxrss) * 1024
    #endif
  }
}
