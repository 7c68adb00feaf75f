extension Jinja {
  /// A value of a running template, with the meaning of the Python type it stands for.
  enum Value {
    case undefined(Missing)
    case none
    case bool(Bool)
    case int(Int)
    case float(Double)
    case string(String)
    /// Text that was declared safe; `+` escapes what is added to it.
    case markup(String)
    case list([Value])
    case tuple([Value])
    case range(RangeValue)
    case view(DictionaryView)
    case dictionary(Mapping)
    case namespace(Namespace)
    case iterator(ValueIterator)
    case macro(Macro)
    case loop(LoopState)
    case function(Function)
    case method(BoundMethod)
  }

  /// Why there is no value; the text is only made when it is shown.
  enum Missing {
    case name(String)
    case attribute(String, ofType: String)
    case item(String, ofType: String)
    case unsafe(String, ofType: String)
    case hint(String)

    var message: String {
      switch self {
      case .name(let name): "'\(name)' is undefined"
      case .attribute(let name, let type): "'\(type)' has no attribute '\(name)'"
      case .item(let index, let type): "\(type) has no element \(index)"
      case .unsafe(let name, let type): "access to attribute '\(name)' of '\(type)' is unsafe"
      case .hint(let text): text
      }
    }
  }

  /// The result of `range`, never longer than 100 000 numbers.
  struct RangeValue {
    static let maximumCount = 100_000

    var start: Int
    var stop: Int
    var step: Int
    var count: Int

    /// The numbers of the range.
    var values: [Value] {
      (0..<count).map { .int(start + $0 * step) }
    }
  }

  /// What `items`, `keys` and `values` of a dictionary give.
  struct DictionaryView {
    enum Kind: String {
      case keys = "dict_keys"
      case values = "dict_values"
      case items = "dict_items"
    }

    var kind: Kind
    var mapping: Mapping

    var elements: [Value] {
      switch kind {
      case .keys: mapping.keys
      case .values: mapping.values
      case .items: mapping.pairs.map { .tuple([$0.key, $0.value]) }
      }
    }
  }

  /// An object with attributes that a template may assign.
  final class Namespace {
    var attributes: [(name: String, value: Value)] = []

    func value(of name: String) -> Value? {
      attributes.first { PythonText.equal($0.name, name) }?.value
    }

    func set(_ name: String, to value: Value) {
      if let index = attributes.firstIndex(where: { PythonText.equal($0.name, name) }) {
        attributes[index].value = value
      } else {
        attributes.append((name, value))
      }
    }
  }

  /// A macro with the scope it was defined in.
  final class Macro {
    let definition: MacroDefinition
    let scope: Scope

    init(_ definition: MacroDefinition, in scope: Scope) {
      self.definition = definition
      self.scope = scope
    }
  }

  /// A function that every template may call.
  enum Function: String, CaseIterable {
    case range
    case dict
    case namespace
    case raiseException = "raise_exception"
    case strftimeNow = "strftime_now"
    case dictFromKeys = "fromkeys"
  }

  /// A method of a value, not called yet.
  final class BoundMethod {
    let receiver: Value
    let name: String

    init(_ receiver: Value, _ name: String) {
      self.receiver = receiver
      self.name = name
    }
  }

  /// A sequence that can be passed through once; its elements are made when they are asked for.
  final class ValueIterator {
    private let advance: () throws(ChatTemplateError) -> Value?
    private var isFinished = false

    init(_ advance: @escaping () throws(ChatTemplateError) -> Value?) {
      self.advance = advance
    }

    convenience init(_ values: [Value]) {
      var index = 0
      self.init {
        guard index < values.count else { return nil }
        index += 1
        return values[index - 1]
      }
    }

    func next() throws(ChatTemplateError) -> Value? {
      guard !isFinished else { return nil }
      let value = try advance()
      isFinished = value == nil
      return value
    }
  }
}

extension Jinja.Value {
  /// What `bool(value)` gives.
  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .int(let value): value != 0
    case .float(let value): value != 0
    case .string(let text), .markup(let text): !text.isEmpty
    case .list(let items), .tuple(let items): !items.isEmpty
    case .range(let range): range.count > 0
    case .view(let view): view.mapping.count > 0
    case .dictionary(let mapping): mapping.count > 0
    case .namespace, .iterator, .macro, .loop, .function, .method: true
    }
  }

  /// The text of a string, safe or not.
  var text: String? {
    switch self {
    case .string(let text), .markup(let text): text
    default: nil
    }
  }

  /// The value as an integer; the truth values count as 0 and 1.
  var integer: Int? {
    switch self {
    case .int(let value): value
    case .bool(let value): value ? 1 : 0
    default: nil
    }
  }

  /// The value as a floating-point number, when it is a number at all.
  var double: Double? {
    switch self {
    case .float(let value): value
    default: integer.map(Double.init)
    }
  }

  var isUndefined: Bool {
    if case .undefined = self { true } else { false }
  }

  var isNone: Bool {
    if case .none = self { true } else { false }
  }

  /// The name of the Python type, for messages.
  var typeName: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "None"
    case .bool: "bool object"
    case .int: "int object"
    case .float: "float object"
    case .string: "str object"
    case .markup: "markup object"
    case .list: "list object"
    case .tuple: "tuple object"
    case .range: "range object"
    case .view(let view): "\(view.kind.rawValue) object"
    case .dictionary: "dict object"
    case .namespace: "namespace object"
    case .iterator: "generator object"
    case .macro: "macro object"
    case .loop: "loop object"
    case .function, .method: "function object"
    }
  }

  /// What `len(value)` gives, or nil when the value has no length.
  ///
  /// The length of a running loop is not here because counting may run the loop's filter.
  var count: Int? {
    switch self {
    case .undefined: 0
    case .string(let text), .markup(let text): text.unicodeScalars.count
    case .list(let items), .tuple(let items): items.count
    case .range(let range): range.count
    case .view(let view): view.mapping.count
    case .dictionary(let mapping): mapping.count
    default: nil
    }
  }
}
