/// Checks of single fields, for ``AdapterConfiguration/validate()``.
extension AdapterConfiguration {
  /// Checks one field.
  func require(
    _ field: String, _ isRight: Bool, _ expected: String, _ actual: Any
  ) throws(AdapterError) {
    guard isRight else {
      throw .configuration(field: field, expected: expected, actual: "\(actual)")
    }
  }

  /// Checks that a number is positive.
  func requirePositive(_ field: String, _ value: Int) throws(AdapterError) {
    try require(field, value > 0, "a positive number", value)
  }

  /// Checks that all values of a pattern table are positive.
  func requirePositive(_ field: String, _ patterns: [PathPattern<Int>]) throws(AdapterError) {
    for entry in patterns { try requirePositive("\(field).\(entry.pattern)", entry.value) }
  }

  /// Checks a share of what is dropped.
  func requireShare(_ field: String, _ value: Double) throws(AdapterError) {
    try require(field, (0..<1).contains(value), "at least 0 and below 1", value)
  }

  /// Checks that a number is finite.
  func requireFinite(_ field: String, _ value: Double) throws(AdapterError) {
    try require(field, value.isFinite, "a number", value)
  }
}
