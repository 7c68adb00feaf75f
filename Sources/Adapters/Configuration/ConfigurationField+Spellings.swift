import JSONValues

extension ConfigurationField {
  /// One of some choices that files spell in their own ways, such as true and "gaussian" in one field.
  ///
  /// - Parameters:
  ///   - key: The field's name.
  ///   - path: Where it is kept.
  ///   - spellings: Every value that a file may have; of several for one choice the first is written.
  /// - Returns: The field.
  static func spelled<Choice: Equatable>(
    _ key: String, _ path: WritableKeyPath<Configuration, Choice>,
    _ spellings: [(choice: Choice, spelling: JSON)]
  ) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        guard let value = reader.value(key) else { return }
        guard let found = spellings.first(where: { $0.spelling == value }) else {
          throw reader.wrong(
            key, spellings.map { $0.spelling.serialized() }.joined(separator: ", "))
        }
        object[keyPath: path] = found.choice
      },
      write: { object in
        spellings.first { $0.choice == object[keyPath: path] }?.spelling ?? .null
      })
  }
}

extension AdapterConfiguration {
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
