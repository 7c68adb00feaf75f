import JSONValues

/// One field of `adapter_config.json` and where a configuration keeps it.
public struct ConfigurationField<Configuration> {
  /// The field's name in the file.
  public let key: String
  let read: (inout Configuration, FieldReader) throws(AdapterError) -> Void
  let write: (Configuration) -> JSON

  init(
    _ key: String, read: @escaping (inout Configuration, FieldReader) throws(AdapterError) -> Void,
    write: @escaping (Configuration) -> JSON
  ) {
    self.key = key
    self.read = read
    self.write = write
  }
}

/// Entries whose null in a file means the default.
extension ConfigurationField {
  static func integer(_ key: String, _ path: WritableKeyPath<Configuration, Int>) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        if let value = try reader.integer(key) { object[keyPath: path] = value }
      }, write: { .integer($0[keyPath: path]) })
  }

  /// A number that files write with a fraction, as Python's float.
  static func number(_ key: String, _ path: WritableKeyPath<Configuration, Double>) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        if let value = try reader.number(key) { object[keyPath: path] = value }
      }, write: { .number($0[keyPath: path]) })
  }

  /// A number whose default is an integer in PEFT: without a fraction where it is whole.
  static func wholeNumber(_ key: String, _ path: WritableKeyPath<Configuration, Double>) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        if let value = try reader.number(key) { object[keyPath: path] = value }
      }, write: { .plain($0[keyPath: path]) })
  }

  static func flag(_ key: String, _ path: WritableKeyPath<Configuration, Bool>) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        if let value = try reader.flag(key) { object[keyPath: path] = value }
      }, write: { .bool($0[keyPath: path]) })
  }

  static func string(_ key: String, _ path: WritableKeyPath<Configuration, String>) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        if let value = try reader.string(key) { object[keyPath: path] = value }
      }, write: { .string($0[keyPath: path]) })
  }

  /// One of the spellings of an enumeration.
  static func choice<Choice>(
    _ key: String, _ path: WritableKeyPath<Configuration, Choice>
  ) -> Self where Choice: RawRepresentable<String> & CaseIterable {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        guard let text = try reader.string(key) else { return }
        guard let value = Choice(rawValue: text) else {
          throw .configuration(
            field: key, expected: Choice.allCases.map(\.rawValue).joined(separator: ", "),
            actual: text)
        }
        object[keyPath: path] = value
      }, write: { .string($0[keyPath: path].rawValue) })
  }
}

/// Entries that may be null.
extension ConfigurationField {
  static func integer(_ key: String, _ path: WritableKeyPath<Configuration, Int?>) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        object[keyPath: path] = try reader.integer(key)
      }, write: { $0[keyPath: path].map(JSON.integer) ?? .null })
  }

  static func number(_ key: String, _ path: WritableKeyPath<Configuration, Double?>) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        object[keyPath: path] = try reader.number(key)
      }, write: { $0[keyPath: path].map(JSON.plain) ?? .null })
  }

  static func string(_ key: String, _ path: WritableKeyPath<Configuration, String?>) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        object[keyPath: path] = try reader.string(key)
      }, write: { $0[keyPath: path].map(JSON.string) ?? .null })
  }

  /// Names; null where there are none.
  static func strings(_ key: String, _ path: WritableKeyPath<Configuration, [String]>) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        object[keyPath: path] = try reader.strings(key) ?? []
      },
      write: { object in
        let values = object[keyPath: path]
        return values.isEmpty ? .null : .array(values.map(JSON.string))
      })
  }

  static func integers(_ key: String, _ path: WritableKeyPath<Configuration, [Int]?>) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        object[keyPath: path] = try reader.integers(key)
      }, write: { $0[keyPath: path].map { .array($0.map(JSON.integer)) } ?? .null })
  }

  static func targets(_ key: String, _ path: WritableKeyPath<Configuration, TargetModules?>) -> Self
  {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        object[keyPath: path] = try reader.targets(key)
      }, write: { $0[keyPath: path]?.json ?? .null })
  }

  /// Whatever is there, kept as it is.
  static func json(_ key: String, _ path: WritableKeyPath<Configuration, JSON>) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        object[keyPath: path] = reader.json[key] ?? object[keyPath: path]
      }, write: { $0[keyPath: path] })
  }
}

/// Tables of values by expressions for the ends of paths.
extension ConfigurationField {
  static func pattern(_ key: String, _ path: WritableKeyPath<Configuration, [PathPattern<Int>]>)
    -> Self
  {
    table(key, path, "whole numbers by pattern", \.intValue, JSON.integer)
  }

  static func pattern(_ key: String, _ path: WritableKeyPath<Configuration, [PathPattern<Double>]>)
    -> Self
  {
    table(key, path, "numbers by pattern", { $0.doubleValue.flatMap { $0.isFinite ? $0 : nil } }) {
      .plain($0)
    }
  }

  private static func table<Value>(
    _ key: String, _ path: WritableKeyPath<Configuration, [PathPattern<Value>]>,
    _ expected: String, _ parse: @escaping (JSON) -> Value?, _ spell: @escaping (Value) -> JSON
  ) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        var result: [PathPattern<Value>] = []
        for (pattern, value) in try reader.object(key) {
          guard let parsed = parse(value) else { throw reader.wrong(key, expected) }
          result.append(PathPattern(pattern, parsed))
        }
        object[keyPath: path] = result
      },
      write: { object in
        .object(JSONObject(object[keyPath: path].map { ($0.pattern, spell($0.value)) }))
      })
  }

  /// A field of PEFT's that nothing here acts on; other values than "off" are refused.
  ///
  /// - Parameters:
  ///   - key: The field's name.
  ///   - off: What it is when it does nothing; that is written.
  ///   - ignoring: Whether other values have no effect in PEFT either, or only beside a switch that is
  ///     refused itself.
  /// - Returns: The field.
  static func off(_ key: String, _ off: JSON, ignoring: Bool = false) -> Self {
    Self(
      key,
      read: { (_, reader) throws(AdapterError) in
        guard let value = reader.value(key), !ignoring, value != off,
          !(off.isNull && value == false), value.objectValue?.count != 0,
          value.arrayValue?.isEmpty != true
        else { return }
        throw .unsupported(field: key, value: String(value.serialized().prefix(60)))
      }, write: { _ in off })
  }
}

extension JSON {
  /// A number without a fraction where it is whole.
  static func plain(_ value: Double) -> JSON {
    value == value.rounded() && abs(value) < 1e15 ? .integer(Int(value)) : .number(value)
  }
}
