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
