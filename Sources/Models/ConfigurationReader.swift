import JSONValues

/// Reads typed values of a `config.json`, with errors that name the key.
struct ConfigurationReader {
  let json: JSON
  let path: String

  /// Whether the key is there and not null.
  func has(_ key: String) -> Bool { json[key].map { !$0.isNull } ?? false }

  func integer(_ key: String, default value: Int? = nil) throws(ModelError) -> Int {
    guard has(key), let found = json[key] else {
      if let value { return value }
      throw wrong(key, "a whole number")
    }
    guard let number = found.intValue, number >= 0 else { throw wrong(key, "a whole number") }
    return number
  }

  func positive(_ key: String, default value: Int? = nil) throws(ModelError) -> Int {
    let number = try integer(key, default: value)
    guard number > 0, number < 1 << 31 else { throw wrong(key, "a positive whole number") }
    return number
  }

  func number(_ key: String, default value: Double) throws(ModelError) -> Double {
    guard has(key), let found = json[key] else { return value }
    guard let number = found.doubleValue, number.isFinite else { throw wrong(key, "a number") }
    return number
  }

  func flag(_ key: String, default value: Bool) throws(ModelError) -> Bool {
    guard has(key), let found = json[key] else { return value }
    guard let flag = found.boolValue else { throw wrong(key, "true or false") }
    return flag
  }

  func string(_ key: String, default value: String? = nil) throws(ModelError) -> String {
    guard has(key), let found = json[key] else {
      if let value { return value }
      throw wrong(key, "text")
    }
    guard let text = found.stringValue else { throw wrong(key, "text") }
    return text
  }

  /// A token id or a list of them; empty when absent.
  func ids(_ key: String) throws(ModelError) -> [Int] {
    guard has(key), let found = json[key] else { return [] }
    if let one = found.intValue { return [one] }
    guard let many = found.arrayValue else { throw wrong(key, "a token id or a list of them") }
    return many.compactMap(\.intValue)
  }

  func wrong(_ key: String, _ expected: String) -> ModelError {
    let actual = json[key].map { String($0.serialized().prefix(60)) } ?? "missing"
    return .configuration(path: path, key: key, expected: expected, actual: actual)
  }
}
