extension Jinja.Interpreter {
  private typealias Value = Jinja.Value

  /// What `value.name` gives: the attribute of the Python type, else the item of this key.
  func attribute(
    _ name: String, of value: Jinja.Value
  ) throws(ChatTemplateError) -> Jinja.Value {
    if let found = try typeAttribute(name, of: value) {
      return found
    }
    if case .dictionary(let mapping) = value, let found = mapping.value(of: name) {
      return found
    }
    return .undefined(.attribute(name, ofType: value.typeName))
  }

  /// What `value[index]` gives: the item, else the attribute of this name.
  func item(
    _ index: Jinja.Value, of value: Jinja.Value
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch value {
    case .undefined(let missing):
      throw failure(missing.message)
    case .dictionary(let mapping):
      if let name = index.text {
        if let found = mapping.value(of: name) {
          return found
        }
      } else if let key = Jinja.Key(index), let found = mapping.value(of: key) {
        return found
      }
    case .list(let items), .tuple(let items):
      if let position = index.integer.flatMap({ wrap($0, count: items.count) }) {
        return items[position]
      }
    case .range(let range):
      if let position = index.integer.flatMap({ wrap($0, count: range.count) }) {
        return .int(range.start + position * range.step)
      }
    case .string(let text), .markup(let text):
      if let number = index.integer, let found = scalar(number, of: text) {
        return .string(String(found))
      }
    default:
      break
    }
    if let name = index.text {
      return try typeAttribute(name, of: value)
        ?? .undefined(.attribute(name, ofType: value.typeName))
    }
    return .undefined(.item(try string(index), ofType: value.typeName))
  }

  private func wrap(_ index: Int, count: Int) -> Int? {
    let position = index < 0 ? index &+ count : index
    return position >= 0 && position < count ? position : nil
  }

  private func scalar(_ index: Int, of text: String) -> Unicode.Scalar? {
    let scalars = text.unicodeScalars
    if index >= 0 {
      return scalars.dropFirst(index).first
    }
    guard index != .min else { return nil }
    return scalars.dropLast(-index - 1).last
  }

  /// The attribute that Python's type of the value has, or nil.
  private func typeAttribute(
    _ name: String, of value: Jinja.Value
  ) throws(ChatTemplateError) -> Jinja.Value? {
    switch value {
    case .undefined(let missing):
      throw failure(missing.message)
    case .namespace(let namespace):
      return namespace.value(of: name)
    case .loop(let loop):
      return try loop.attribute(name)
    case .macro(let macro):
      return attribute(name, of: macro)
    case .tuple(let items) where items.count == 2 && (name == "grouper" || name == "list"):
      // The pairs of `groupby` have these names for their parts.
      return name == "grouper" ? items[0] : items[1]
    case .function(.dict) where name == "fromkeys":
      return .function(.dictFromKeys)
    case .range(let range) where name == "start" || name == "stop" || name == "step":
      return .int(name == "start" ? range.start : name == "stop" ? range.stop : range.step)
    default:
      if let number = numberAttribute(name, of: value) {
        return number
      }
      switch Jinja.Method.kind(of: name, on: value) {
      case .callable: return .method(Jinja.BoundMethod(value, name))
      case .mutating: return .undefined(.unsafe(name, ofType: value.typeName))
      case nil: return nil
      }
    }
  }

  private func numberAttribute(_ name: String, of value: Jinja.Value) -> Jinja.Value? {
    switch (value, name) {
    case (.float, "real"): return value
    case (.float, "imag"): return .float(0)
    case (.int, "real"), (.int, "numerator"), (.bool, "real"), (.bool, "numerator"):
      return value.integer.map(Value.int)
    case (.int, "imag"), (.bool, "imag"): return .int(0)
    case (.int, "denominator"), (.bool, "denominator"): return .int(1)
    default: return nil
    }
  }

  private func attribute(_ name: String, of macro: Jinja.Macro) -> Jinja.Value? {
    let definition = macro.definition
    switch name {
    case "name": return definition.name.map(Value.string) ?? Value.none
    case "arguments": return .tuple(definition.parameters.map { .string($0.name) })
    case "catch_kwargs": return .bool(definition.usesKeywords)
    case "catch_varargs": return .bool(definition.usesPositionals)
    case "caller": return .bool(definition.usesCaller)
    default: return nil
    }
  }

  // MARK: Slices

  /// What `value[start:stop:step]` gives.
  func slice(
    _ value: Jinja.Value, start: Jinja.Value, stop: Jinja.Value, step: Jinja.Value
  ) throws(ChatTemplateError) -> Jinja.Value {
    if case .undefined(let missing) = value {
      throw failure(missing.message)
    }
    for bound in [start, stop, step] where !bound.isNone && bound.integer == nil {
      throw failure("the bounds of a slice are integers, not a \(bound.typeName)")
    }
    guard step.integer != 0 else { throw failure("the step of a slice cannot be zero") }
    func positions(_ count: Int) -> [Int] {
      Self.slicePositions(
        count: count, start: start.integer, stop: stop.integer, step: step.integer ?? 1)
    }
    switch value {
    case .list(let items):
      try charge(items.count / 16)
      return .list(positions(items.count).map { items[$0] })
    case .tuple(let items):
      return .tuple(positions(items.count).map { items[$0] })
    case .range(let range):
      return .list(positions(range.count).map { .int(range.start + $0 * range.step) })
    case .string(let text), .markup(let text):
      let scalars = Array(text.unicodeScalars)
      try chargeText(text.utf8.count)
      return .string(PythonText.string(positions(scalars.count).map { scalars[$0] }))
    default:
      throw failure("a \(value.typeName) cannot be sliced")
    }
  }

  private static func slicePositions(count: Int, start: Int?, stop: Int?, step: Int) -> [Int] {
    func clamp(_ bound: Int, low: Int, high: Int) -> Int {
      min(max(bound < 0 ? bound &+ count : bound, low), high)
    }
    if step > 0 {
      let first = start.map { clamp($0, low: 0, high: count) } ?? 0
      let end = stop.map { clamp($0, low: 0, high: count) } ?? count
      return first < end ? Array(Swift.stride(from: first, to: end, by: step)) : []
    }
    let first = start.map { clamp($0, low: -1, high: count - 1) } ?? count - 1
    let end = stop.map { clamp($0, low: -1, high: count - 1) } ?? -1
    return first > end ? Array(Swift.stride(from: first, to: end, by: step)) : []
  }

  // MARK: Iteration

  /// Passes through a value once.
  func iterator(over value: Jinja.Value) throws(ChatTemplateError) -> Jinja.ValueIterator {
    switch value {
    case .iterator(let iterator):
      return iterator
    case .list(let items), .tuple(let items):
      return Jinja.ValueIterator(items)
    case .undefined:
      return Jinja.ValueIterator([])
    case .range(let range):
      return Jinja.ValueIterator(range.values)
    case .view(let view):
      return Jinja.ValueIterator(view.elements)
    case .dictionary(let mapping):
      return Jinja.ValueIterator(mapping.keys)
    case .string(let text), .markup(let text):
      try chargeText(text.utf8.count)
      return Jinja.ValueIterator(text.unicodeScalars.map { .string(String($0)) })
    case .loop(let loop):
      return Jinja.ValueIterator { () throws(ChatTemplateError) -> Jinja.Value? in
        try loop.next().map { .tuple([$0, .loop(loop)]) }
      }
    default:
      throw failure("a \(value.typeName) cannot be iterated over")
    }
  }

  /// All elements of a value.
  func elements(of value: Jinja.Value) throws(ChatTemplateError) -> [Jinja.Value] {
    if case .list(let items) = value {
      return items
    }
    let source = try iterator(over: value)
    var values: [Value] = []
    while let value = try source.next() {
      values.append(value)
    }
    try charge(values.count)
    return values
  }

  /// What `len(value)` gives.
  func length(of value: Jinja.Value) throws(ChatTemplateError) -> Int {
    if let count = value.count {
      return count
    }
    if case .loop(let loop) = value {
      return try loop.count()
    }
    throw failure("a \(value.typeName) has no length")
  }
}
