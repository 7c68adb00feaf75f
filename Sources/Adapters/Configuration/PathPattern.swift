/// A value for layers whose path ends with an expression.
public struct PathPattern<Value: Equatable & Sendable>: Equatable, Sendable {
  /// Regular expression for the end of the path.
  public var pattern: String
  /// What those layers get.
  public var value: Value

  /// Makes an entry.
  ///
  /// - Parameters:
  ///   - pattern: Regular expression for the end of the path.
  ///   - value: What those layers get.
  public init(_ pattern: String, _ value: Value) {
    self.pattern = pattern
    self.value = value
  }
}

extension [PathPattern<Int>] {
  /// The value of the first expression that the path ends with, else `fallback`.
  func value(for path: String, default fallback: Int) throws(AdapterError) -> Int {
    try TargetMatching.value(
      for: path, in: map { ($0.pattern, $0.value) }, default: fallback)
  }
}

extension [PathPattern<Double>] {
  /// The value of the first expression that the path ends with, else `fallback`.
  func value(for path: String, default fallback: Double) throws(AdapterError) -> Double {
    try TargetMatching.value(
      for: path, in: map { ($0.pattern, $0.value) }, default: fallback)
  }
}
