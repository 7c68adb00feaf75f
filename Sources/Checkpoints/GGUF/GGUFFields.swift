/// Typed access to the metadata of a GGUF file, with errors that name the key.
struct GGUFFields {
  let file: GGUFFile

  init(_ file: GGUFFile) { self.file = file }

  func optionalString(_ key: String) throws(CheckpointError) -> String? {
    guard let value = file[key] else { return nil }
    guard let text = value.stringValue else { throw mismatch(key, "a string", value) }
    return text
  }

  func string(_ key: String) throws(CheckpointError) -> String {
    guard let text = try optionalString(key) else { throw lacks(key) }
    return text
  }

  func optionalInteger(_ key: String) throws(CheckpointError) -> Int? {
    guard let value = file[key] else { return nil }
    guard let integer = value.intValue else { throw mismatch(key, "one integer", value) }
    return integer
  }

  /// A positive integer below 2^31, so that products of two do not overflow.
  func size(_ key: String) throws(CheckpointError) -> Int {
    guard let size = try optionalSize(key) else { throw lacks(key) }
    return size
  }

  /// A positive integer below 2^31, or nil when the key is absent.
  func optionalSize(_ key: String) throws(CheckpointError) -> Int? {
    guard let integer = try optionalInteger(key) else { return nil }
    guard (1..<1 << 31).contains(integer) else {
      throw .mismatch(
        path: file.path, what: key, expected: "an integer from 1 below 2^31", actual: "\(integer)")
    }
    return integer
  }

  func optionalNumber(_ key: String) throws(CheckpointError) -> Double? {
    guard let value = file[key] else { return nil }
    guard let number = value.doubleValue, number.isFinite else {
      throw mismatch(key, "a finite number", value)
    }
    return number
  }

  func number(_ key: String) throws(CheckpointError) -> Double {
    guard let number = try optionalNumber(key) else { throw lacks(key) }
    return number
  }

  func optionalBool(_ key: String) throws(CheckpointError) -> Bool? {
    guard let value = file[key] else { return nil }
    guard let flag = value.boolValue else { throw mismatch(key, "a truth value", value) }
    return flag
  }

  /// An array whose elements all convert, or nil when the key is absent.
  func optionalArray<Element>(
    _ key: String, of expected: String, _ convert: (GGUFValue) -> Element?
  ) throws(CheckpointError) -> [Element]? {
    guard let value = file[key] else { return nil }
    guard let values = value.arrayValue else { throw mismatch(key, "an array", value) }
    var result: [Element] = []
    result.reserveCapacity(values.count)
    for (index, value) in values.enumerated() {
      guard let element = convert(value) else {
        throw mismatch("\(key)[\(index)]", expected, value)
      }
      result.append(element)
    }
    return result
  }

  func lacks(_ key: String) -> CheckpointError {
    .lacks(path: file.path, what: "metadata key \(quoted(key))")
  }

  private func mismatch(_ key: String, _ expected: String, _ value: GGUFValue) -> CheckpointError {
    let found =
      value.arrayValue.map { "an array of \($0.count)" } ?? String("\(value)".prefix(80))
    return .mismatch(path: file.path, what: key, expected: expected, actual: found)
  }
}
