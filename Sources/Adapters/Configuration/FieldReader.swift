import JSONValues

/// Typed fields of an adapter configuration; null counts as absent.
struct FieldReader {
  let json: JSON

  func value(_ key: String) -> JSON? {
    guard let value = json[key], !value.isNull else { return nil }
    return value
  }

  func wrong(_ key: String, _ expected: String) -> AdapterError {
    .configuration(
      field: key, expected: expected, actual: String((json[key]?.serialized() ?? "").prefix(60)))
  }

  func object(_ key: String) throws(AdapterError) -> JSONObject {
    guard let value = value(key) else { return JSONObject() }
    guard let object = value.objectValue else { throw wrong(key, "an object") }
    return object
  }

  func integer(_ key: String) throws(AdapterError) -> Int? {
    guard let value = value(key) else { return nil }
    guard let number = value.intValue else { throw wrong(key, "a whole number") }
    return number
  }

  func number(_ key: String) throws(AdapterError) -> Double? {
    guard let value = value(key) else { return nil }
    guard let number = value.doubleValue, number.isFinite else { throw wrong(key, "a number") }
    return number
  }

  func flag(_ key: String) throws(AdapterError) -> Bool? {
    guard let value = value(key) else { return nil }
    guard let flag = value.boolValue else { throw wrong(key, "true or false") }
    return flag
  }

  func string(_ key: String) throws(AdapterError) -> String? {
    guard let value = value(key) else { return nil }
    guard let text = value.stringValue else { throw wrong(key, "text") }
    return text
  }

  /// A list of names, or one name.
  func strings(_ key: String) throws(AdapterError) -> [String]? {
    guard let value = value(key) else { return nil }
    if let one = value.stringValue { return [one] }
    return try elements(key, "a list of names", value.arrayValue, \.stringValue)
  }

  /// A list of whole numbers, or one number.
  func integers(_ key: String) throws(AdapterError) -> [Int]? {
    guard let value = value(key) else { return nil }
    if let one = value.intValue { return [one] }
    return try elements(key, "a list of whole numbers", value.arrayValue, \.intValue)
  }

  func targets(_ key: String) throws(AdapterError) -> TargetModules? {
    guard let value = value(key) else { return nil }
    if let pattern = value.stringValue {
      return pattern.lowercased() == "all-linear" ? .allLinear : .pattern(pattern)
    }
    return .names(
      try elements(key, "a list of names or an expression", value.arrayValue, \.stringValue))
  }

  /// The elements of a list, all of one type.
  private func elements<Element>(
    _ key: String, _ expected: String, _ list: [JSON]?, _ read: (JSON) -> Element?
  ) throws(AdapterError) -> [Element] {
    let read = list?.map(read) ?? []
    let found = read.compactMap { $0 }
    guard list != nil, found.count == read.count else { throw wrong(key, expected) }
    return found
  }
}
