extension Jinja {
  /// A Python dictionary: keys in the order of their first insertion, compared as Python does.
  struct Mapping {
    private(set) var keys: [Value] = []
    private(set) var values: [Value] = []
    /// Positions of the keys, once there are enough of them for a search to be slow.
    private var index: [Key: Int] = [:]

    private static let linearLimit = 8

    init() {}

    var count: Int { keys.count }

    var pairs: [(key: Value, value: Value)] {
      Array(zip(keys, values).lazy.map { (key: $0, value: $1) })
    }

    /// The value of a string key.
    func value(of name: String) -> Value? {
      if index.isEmpty {
        for (position, key) in keys.enumerated() {
          if let text = key.text, PythonText.equal(text, name) {
            return values[position]
          }
        }
        return nil
      }
      return index[.text(Array(name.utf8))].map { values[$0] }
    }

    /// The value of a key.
    func value(of key: Key) -> Value? {
      position(of: key).map { values[$0] }
    }

    /// Sets the value of a key that can be hashed; others are ignored and give false.
    @discardableResult
    mutating func set(_ key: Value, to value: Value) -> Bool {
      guard let hashable = Key(key) else { return false }
      if let position = position(of: hashable) {
        values[position] = value
        return true
      }
      keys.append(key)
      values.append(value)
      if !index.isEmpty {
        index[hashable] = keys.count - 1
      } else if keys.count > Self.linearLimit {
        for (position, key) in keys.enumerated() {
          if let key = Key(key) {
            index[key] = position
          }
        }
      }
      return true
    }

    private func position(of key: Key) -> Int? {
      guard index.isEmpty else { return index[key] }
      return keys.firstIndex { Key($0) == key }
    }
  }

  /// A value as the key of a dictionary: equal numbers are one key, whatever their type.
  enum Key: Hashable {
    case undefined
    case none
    case integer(Int)
    case float(Double)
    case text([UInt8])
    case tuple([Key])
    case object(ObjectIdentifier)
    case function(Function)

    /// The key of a value, or nil when Python cannot hash it.
    init?(_ value: Value) {
      switch value {
      case .undefined: self = .undefined
      case .none: self = .none
      case .bool(let flag): self = .integer(flag ? 1 : 0)
      case .int(let number): self = .integer(number)
      case .float(let number): self = Int(exactly: number).map(Key.integer) ?? .float(number)
      case .string(let text), .markup(let text): self = .text(Array(text.utf8))
      case .tuple(let items):
        var keys: [Key] = []
        for item in items {
          guard let key = Key(item) else { return nil }
          keys.append(key)
        }
        self = .tuple(keys)
      case .range(let range):
        self = .tuple([.integer(range.start), .integer(range.stop), .integer(range.step)])
      case .namespace(let object): self = .object(ObjectIdentifier(object))
      case .iterator(let object): self = .object(ObjectIdentifier(object))
      case .macro(let object): self = .object(ObjectIdentifier(object))
      case .loop(let object): self = .object(ObjectIdentifier(object))
      case .method(let object): self = .object(ObjectIdentifier(object))
      case .function(let function): self = .function(function)
      case .list, .dictionary, .view: return nil
      }
    }
  }
}
