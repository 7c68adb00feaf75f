import Foundation

/// A number with four digits behind the point, shortened when it is huge or tiny.
func fixed(_ value: Double) -> String {
  let size = abs(value)
  return size >= 1e5 || (size > 0 && size < 1e-3)
    ? String(format: "%.3e", value) : String(format: "%.4f", value)
}
