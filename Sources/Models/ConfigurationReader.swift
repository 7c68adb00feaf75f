import JSONValues
import Layers
import Tensors

/// Reads typed values of a `config.json`, with errors that name the key.
struct ConfigurationReader {
  let json: JSON
  let path: String
  /// What keys have when they are missing (a null stays one): those of the model type's class.
  var defaults: [String: JSON] = [:]
  /// Names that the file has for the keys asked for.
  var names: [String: String] = [:]

  /// The value of a key, its default where it is missing; nil when it is null or there is neither.
  func value(_ key: String) -> JSON? {
    guard let found = json[names[key] ?? key] ?? json[key] ?? defaults[key], !found.isNull else {
      return Optional.none  // `nil` would be JSON's null
    }
    return found
  }

  /// Whether the file has the key, be it null.
  func mentions(_ key: String) -> Bool { json[names[key] ?? key] != nil }

  /// Whether the key is there and not null.
  func has(_ key: String) -> Bool { value(key) != nil }

  func integer(_ key: String, default value: Int? = nil) throws(ModelError) -> Int {
    guard let found = self.value(key) else {
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

  /// The number of blocks: more than any model has would take memory before a weight is asked for.
  func layerCount(_ key: String) throws(ModelError) -> Int {
    let count = try positive(key)
    guard count <= 10_000 else { throw wrong(key, "a positive whole number up to 10000") }
    return count
  }

  func number(_ key: String, default value: Double? = nil) throws(ModelError) -> Double {
    guard let found = self.value(key) else {
      if let value { return value }
      throw wrong(key, "a number")
    }
    guard let number = found.doubleValue, number.isFinite else { throw wrong(key, "a number") }
    return number
  }

  func optionalNumber(_ key: String) throws(ModelError) -> Double? {
    has(key) ? try number(key) : nil
  }

  func positiveNumber(_ key: String, default value: Double? = nil) throws(ModelError) -> Double {
    let number = try number(key, default: value)
    guard number > 0 else { throw wrong(key, "a positive number") }
    return number
  }

  func numbers(_ key: String, count: Int) throws(ModelError) -> [Double] {
    guard let list = value(key)?.arrayValue else { throw wrong(key, "a list of \(count) numbers") }
    let found = list.compactMap(\.doubleValue)
    guard found.count == count, list.count == count, found.allSatisfy(\.isFinite) else {
      throw wrong(key, "a list of \(count) numbers")
    }
    return found
  }

  func flag(_ key: String, default value: Bool = false) throws(ModelError) -> Bool {
    guard let found = self.value(key) else { return value }
    guard let flag = found.boolValue else { throw wrong(key, "true or false") }
    return flag
  }

  func string(_ key: String, default value: String? = nil) throws(ModelError) -> String {
    guard let found = self.value(key) else {
      if let value { return value }
      throw wrong(key, "text")
    }
    guard let text = found.stringValue else { throw wrong(key, "text") }
    return text
  }

  /// A list of texts; nil when absent.
  func strings(_ key: String) throws(ModelError) -> [String]? {
    guard let found = value(key) else { return nil }
    guard let list = found.arrayValue, case let texts = list.compactMap(\.stringValue),
      texts.count == list.count
    else { throw wrong(key, "a list of texts") }
    return texts
  }

  /// A function by transformers' name.
  func activation(
    _ key: String, default value: String? = nil
  ) throws(ModelError) -> ActivationFunction {
    let name = try string(key, default: value)
    guard let found = ActivationFunction(rawValue: name) else {
      throw .unsupported(
        path: path, what: "\(key) \"\(name)\"",
        supported: ActivationFunction.allCases.map(\.rawValue))
    }
    return found
  }

  /// A token id or a list of them; empty when absent.
  func ids(_ key: String) throws(ModelError) -> [Int] {
    guard let found = value(key) else { return [] }
    let many = found.arrayValue ?? [found]
    let ids = many.compactMap(\.intValue)
    guard ids.count == many.count else { throw wrong(key, "a token id or a list of them") }
    return ids
  }

  /// What each layer sees by `layer_types`, "full_attention" or "sliding_attention"; nil when absent.
  func layerTypes(count: Int) throws(ModelError) -> [String]? {
    guard let types = try strings("layer_types") else { return nil }
    guard types.count >= count else {
      throw wrong("layer_types", "one entry for each of \(count) layers")
    }
    let known = ["full_attention", "sliding_attention"]
    if let other = types.first(where: { !known.contains($0) }) {
      throw .unsupported(path: path, what: "layer type \"\(other)\"", supported: known)
    }
    return types
  }

  /// The floating-point type that the weights were saved in, or nil when the file does not say.
  func storedDType() -> DType? {
    // "torch_dtype" until transformers 4, "dtype" since.
    (value("dtype") ?? value("torch_dtype"))?.stringValue.flatMap(DType.init(name:))
      .flatMap { $0.isFloatingPoint ? $0 : nil }
  }

  /// The token that fills rows up, or nil; old files say -1 for none.
  func paddingID(vocabularySize: Int) throws(ModelError) -> Int? {
    try ids("pad_token_id").first.flatMap { (0..<vocabularySize).contains($0) ? $0 : nil }
  }

  /// What stands under a key, which is an object; empty when absent.
  func nested(_ key: String) throws(ModelError) -> ConfigurationReader {
    guard let found = value(key) else { return ConfigurationReader(json: .null, path: path) }
    guard found.objectValue != nil else { throw wrong(key, "an object") }
    return ConfigurationReader(json: found, path: "\(path): \(key)")
  }

  func wrong(_ key: String, _ expected: String) -> ModelError {
    let key = names[key] ?? key
    let actual = json[key].map { String($0.serialized().prefix(60)) } ?? "missing"
    return .configuration(path: path, key: key, expected: expected, actual: actual)
  }
}
