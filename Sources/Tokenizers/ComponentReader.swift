import JSONValues

/// One object of tokenizer.json together with its place, so that every error names both.
struct ComponentReader {
  let json: JSON
  /// Where the object stands, such as `pre_tokenizer.pretokenizers[1]`.
  let path: String
  let file: String

  init(_ json: JSON, path: String, file: String) {
    self.json = json
    self.path = path
    self.file = file
  }

  /// The value of `type`, by which components are chosen.
  func type() throws(TokenizerError) -> String { try string("type") }

  /// The member of that name, or nil when it is absent or null.
  func optional(_ key: String) -> ComponentReader? {
    guard let value = json[key], !value.isNull else { return nil }
    return ComponentReader(value, path: path.isEmpty ? key : path + "." + key, file: file)
  }

  func required(_ key: String) throws(TokenizerError) -> ComponentReader {
    guard let member = optional(key) else { throw problem("the field \"\(key)\" is missing") }
    return member
  }

  func string(_ key: String) throws(TokenizerError) -> String {
    try required(key).stringValue()
  }

  func optionalString(_ key: String) throws(TokenizerError) -> String? {
    try optional(key)?.stringValue()
  }

  func bool(_ key: String, default fallback: Bool) throws(TokenizerError) -> Bool {
    guard let member = optional(key) else { return fallback }
    guard let value = member.json.boolValue else { throw member.problem("expected true or false") }
    return value
  }

  func integer(_ key: String, default fallback: Int) throws(TokenizerError) -> Int {
    try optional(key)?.integerValue() ?? fallback
  }

  func elements(_ key: String) throws(TokenizerError) -> [ComponentReader] {
    try required(key).elements()
  }

  /// The single Unicode scalar that a field holds.
  func scalar(_ key: String, default fallback: Unicode.Scalar? = nil) throws(TokenizerError)
    -> Unicode.Scalar
  {
    if optional(key) == nil, let fallback { return fallback }
    let text = try string(key)
    guard let first = text.unicodeScalars.first, text.unicodeScalars.count == 1 else {
      throw problem("the field \"\(key)\" holds \"\(text)\", expected one character")
    }
    return first
  }

  func stringValue() throws(TokenizerError) -> String {
    guard let value = json.stringValue else { throw problem("expected a string") }
    return value
  }

  func integerValue() throws(TokenizerError) -> Int {
    guard let value = json.intValue else { throw problem("expected an integer") }
    return value
  }

  /// A number that is not negative.
  func count(limit: Int = Int(UInt32.max)) throws(TokenizerError) -> Int {
    let value = try integerValue()
    guard (0...limit).contains(value) else {
      throw problem("is \(value), expected a number from 0 to \(limit)")
    }
    return value
  }

  /// One of the names of an enumeration.
  func choice<Choice: RawRepresentable<String>>(
    _ key: String, _ type: Choice.Type
  ) throws(TokenizerError) -> Choice {
    let name = try string(key)
    guard let choice = Choice(rawValue: name) else {
      throw problem("the field \"\(key)\" holds \"\(name)\", which is not known")
    }
    return choice
  }

  func objectValue() throws(TokenizerError) -> JSONObject {
    guard let value = json.objectValue else { throw problem("expected an object") }
    return value
  }

  func elements() throws(TokenizerError) -> [ComponentReader] {
    guard let values = json.arrayValue else { throw problem("expected an array") }
    return values.enumerated().map { ComponentReader($1, path: path + "[\($0)]", file: file) }
  }

  func problem(_ text: String) -> TokenizerError {
    .malformedComponent(file: file, component: path.isEmpty ? "the top level" : path, problem: text)
  }

  func unknown(type: String, known: some Sequence<String>) -> TokenizerError {
    .unknownComponent(file: file, component: path, type: type, known: known.sorted())
  }
}
