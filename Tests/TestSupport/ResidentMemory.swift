import Foundation

/// Kilobytes of a file that are resident in this process.
public func residentKilobytes(_ path: String) -> Int {
  guard let file = FileHandle(forReadingAtPath: "/proc/self/smaps") else { return 0 }
  let maps = String(decoding: (try? file.readToEnd()) ?? Data(), as: UTF8.self)
  let lines = maps.split(separator: "\n")
  // The system writes the path without doubled slashes.
  let ending = path.split(separator: "/").suffix(2).joined(separator: "/")
  guard let start = lines.firstIndex(where: { $0.hasSuffix(ending) }) else { return 0 }
  let own = lines[start...].first { $0.hasPrefix("Rss:") }
  return own?.split(separator: " ").compactMap { Int($0) }.first ?? 0
}
