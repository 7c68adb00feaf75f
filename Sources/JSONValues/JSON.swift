/// A JSON value that keeps the order of object keys and tells integers from other numbers.
///
/// Strings are compared by their bytes: "\u{E9}" and "e\u{301}" are different values here, although
/// Swift's `String` calls them equal. `.integer(1)` and `.number(1)` are different values as well.
public enum JSON: Sendable {
  /// The literal `null`.
  case null
  /// The literals `true` and `false`.
  case bool(Bool)
  /// A number without fraction and exponent that fits into 64 bits.
  case integer(Int)
  /// Any other number, rounded to the nearest `Double`.
  case number(Double)
  /// A string.
  case string(String)
  /// An array.
  case array([JSON])
  /// An object, in the order of the file.
  case object(JSONObject)
}

extension JSON: Equatable {
  /// Compares two values, strings by their bytes and objects whatever their order.
  ///
  /// - Parameters:
  ///   - left: A value.
  ///   - right: Another value.
  /// - Returns: Whether both are the same value.
  public static func == (left: JSON, right: JSON) -> Bool {
    switch (left, right) {
    case (.null, .null): true
    case (.bool(let left), .bool(let right)): left == right
    case (.integer(let left), .integer(let right)): left == right
    case (.number(let left), .number(let right)): left == right
    case (.string(let left), .string(let right)): left.utf8.elementsEqual(right.utf8)
    case (.array(let left), .array(let right)): left == right
    case (.object(let left), .object(let right)): left == right
    default: false
    }
  }
}

extension JSON {
  /// The value of a key, or nil when this is not an object or has no such key.
  ///
  /// - Parameter key: The key, compared by its bytes.
  /// - Returns: The value, which is `.null` where the file says null.
  public subscript(key: String) -> JSON? {
    objectValue?[key]
  }

  /// The text, or nil when this is not a string.
  public var stringValue: String? {
    if case .string(let value) = self { value } else { nil }
  }

  /// The integer, or nil when this is not an integer of 64 bits.
  public var intValue: Int? {
    if case .integer(let value) = self { value } else { nil }
  }

  /// The number, integers converted, or nil when this is not a number.
  public var doubleValue: Double? {
    switch self {
    case .number(let value): value
    case .integer(let value): Double(value)
    default: nil
    }
  }

  /// The truth value, or nil when this is not one.
  public var boolValue: Bool? {
    if case .bool(let value) = self { value } else { nil }
  }

  /// The elements, or nil when this is not an array.
  public var arrayValue: [JSON]? {
    if case .array(let value) = self { value } else { nil }
  }

  /// The object, or nil when this is not one.
  public var objectValue: JSONObject? {
    if case .object(let value) = self { value } else { nil }
  }

  /// Whether this is the literal `null`.
  public var isNull: Bool {
    if case .null = self { true } else { false }
  }
}

extension JSON: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral,
  ExpressibleByDictionaryLiteral
{
  /// Creates the literal `null`.
  ///
  /// - Parameter nilLiteral: Nothing.
  public init(nilLiteral: ()) { self = .null }

  /// Creates a truth value.
  ///
  /// - Parameter value: The literal.
  public init(booleanLiteral value: Bool) { self = .bool(value) }

  /// Creates an integer.
  ///
  /// - Parameter value: The literal.
  public init(integerLiteral value: Int) { self = .integer(value) }

  /// Creates a number.
  ///
  /// - Parameter value: The literal.
  public init(floatLiteral value: Double) { self = .number(value) }

  /// Creates a string.
  ///
  /// - Parameter value: The literal.
  public init(stringLiteral value: String) { self = .string(value) }

  /// Creates an array.
  ///
  /// - Parameter elements: The elements of the literal.
  public init(arrayLiteral elements: JSON...) { self = .array(elements) }

  /// Creates an object in the order of the literal; a later duplicate of a key wins.
  ///
  /// - Parameter elements: The pairs of the literal.
  public init(dictionaryLiteral elements: (String, JSON)...) {
    self = .object(JSONObject(elements.map { (key: $0.0, value: $0.1) }))
  }
}

extension JSON {
  /// The value with null in place of numbers that JSON cannot spell: infinities and NaN.
  public var withoutNonFinite: JSON {
    switch self {
    case .number(let number): number.isFinite ? self : .null
    case .array(let elements): .array(elements.map(\.withoutNonFinite))
    case .object(let object):
      .object(JSONObject(object.map { ($0.key, $0.value.withoutNonFinite) }))
    default: self
    }
  }
}
