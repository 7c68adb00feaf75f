import Foundation

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

extension Array {
  /// The table as a file may hold it.
  ///
  /// The first match counts, but files sort their keys: where another pattern would come first
  /// then, each layer that has a value of its own is named in full instead. PEFT writes the keys as
  /// they are, so that opening its file gives such layers another value.
  ///
  /// - Parameters:
  ///   - paths: The layers that have the adapter.
  ///   - fallback: The value of those that no pattern matches.
  /// - Returns: A table that gives them the same values in any order.
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)`` for a pattern that is none.
  func unambiguous<Value>(
    for paths: [String], default fallback: Value
  ) throws(AdapterError) -> Self where Element == PathPattern<Value> {
    guard count > 1 else { return self }
    func values(_ table: Self) throws(AdapterError) -> [Value] {
      let pairs = table.map { ($0.pattern, $0.value) }
      var result: [Value] = []
      for path in paths {
        result.append(try TargetMatching.value(for: path, in: pairs, default: fallback))
      }
      return result
    }
    let meant = try values(self)
    guard try values(sorted { $0.pattern < $1.pattern }) != meant else { return self }
    return zip(paths, meant).filter { $0.1 != fallback }.map { path, value in
      PathPattern("^" + NSRegularExpression.escapedPattern(for: path), value)
    }
  }
}
