extension Jinja {
  /// What can stand after `|`.
  enum Filter: String, CaseIterable, Sendable {
    case abs, attr, batch, capitalize, center, count, d
    case defaultValue = "default"
    case dictsort, e, escape, filesizeformat, first, float, forceescape, format, groupby, indent
    case int, items, join, last, length, list, lower, map, max, min, reject, rejectattr, replace
    case reverse, round, safe, select, selectattr, slice, sort, string, sum, title, tojson, trim
    case truncate, unique, upper, urlencode, wordcount
  }
}

extension Jinja.Interpreter {
  private typealias Value = Jinja.Value

  /// Applies a filter to a value.
  func apply(
    _ filter: Jinja.Filter, to value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch filter {
    case .capitalize, .center, .e, .escape, .forceescape, .format, .indent, .lower, .replace,
      .safe, .string, .title, .trim, .truncate, .upper, .urlencode, .wordcount:
      return try applyTextFilter(filter, to: value, arguments)
    case .abs, .float, .int, .round, .sum, .filesizeformat:
      return try applyNumberFilter(filter, to: value, arguments)
    case .map, .select, .reject, .selectattr, .rejectattr:
      return try applySelection(filter, to: value, arguments)
    case .attr, .d, .defaultValue, .tojson, .join:
      return try applyValueFilter(filter, to: value, arguments)
    case .batch, .count, .dictsort, .first, .groupby, .items, .last, .length, .list, .max, .min,
      .reverse, .slice, .sort, .unique:
      return try applySequenceFilter(filter, to: value, arguments)
    }
  }

  private func applyValueFilter(
    _ filter: Jinja.Filter, to value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch filter {
    case .attr:
      let values = try arguments.bind(["name"], required: 1, for: filter.rawValue, self)
      guard let name = values[0]?.text else {
        throw failure("the name of an attribute is a string")
      }
      if case .dictionary(let mapping) = value, mapping.value(of: name) != nil {
        // Unlike `value.name`, the filter does not look at the items.
        let method = try attribute(name, of: .dictionary(Jinja.Mapping()))
        return method.isUndefined ? .undefined(.attribute(name, ofType: value.typeName)) : method
      }
      return try attribute(name, of: value)
    case .tojson:
      return .string(try json(value, arguments))
    case .join:
      let values = try arguments.bind(["d", "attribute"], for: filter.rawValue, self)
      let separator = try string(values[0] ?? .string(""))
      let path = try path(of: values[1])
      var text = ""
      var isFirst = true
      for item in try elements(of: value) {
        let part = try string(try follow(path, from: item))
        try chargeText(text.utf8.count + separator.utf8.count + part.utf8.count)
        text += isFirst ? part : separator + part
        isFirst = false
      }
      return .string(text)
    default:
      let values = try arguments.bind(["default_value", "boolean"], for: "default", self)
      let replaces = value.isUndefined || (values[1]?.isTrue == true && !value.isTrue)
      return replaces ? values[0] ?? .string("") : value
    }
  }

  private func json(
    _ value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> String {
    let values = try arguments.bind(
      ["ensure_ascii", "indent", "separators", "sort_keys"], for: "tojson", self)
    var indent: String?
    switch values[1] ?? .none {
    case .none: break
    case .string(let text), .markup(let text): indent = text
    case let other:
      guard let width = other.integer else {
        throw failure("'indent' of 'tojson' is a number or a string, not a \(other.typeName)")
      }
      try chargeText(max(0, width))
      indent = String(repeating: " ", count: max(0, width))
    }
    var separators: (item: String, key: String)?
    if let given = values[2], !given.isNone {
      let parts = try elements(of: given)
      guard parts.count == 2, let item = parts[0].text, let key = parts[1].text else {
        throw failure("'separators' of 'tojson' are two strings")
      }
      separators = (item, key)
    }
    var writer = Jinja.JSONWriter(
      indent: indent, separators: separators, sortsKeys: values[3]?.isTrue ?? false,
      escapesNonASCII: values[0]?.isTrue ?? false)
    try writer.write(value, self)
    try chargeText(writer.output.utf8.count)
    return writer.output
  }

  // MARK: Paths of attributes

  /// The steps of `attribute="a.b.0"`.
  func path(of value: Jinja.Value?) throws(ChatTemplateError) -> [Jinja.Value] {
    guard let value, !value.isNone else { return [] }
    guard let text = value.text else { return [value] }
    return text.split(separator: ".", omittingEmptySubsequences: false).map { part in
      let isNumber = !part.isEmpty && part.utf8.allSatisfy { (48...57).contains($0) }
      return isNumber ? Int(part).map(Value.int) ?? .string(String(part)) : .string(String(part))
    }
  }

  /// What a path leads to; `fallback` stands for steps that lead nowhere.
  func follow(
    _ path: [Jinja.Value], from start: Jinja.Value, or fallback: Jinja.Value? = nil
  ) throws(ChatTemplateError) -> Jinja.Value {
    var value = start
    for step in path {
      value = try item(step, of: value)
      if let fallback, value.isUndefined {
        value = fallback
      }
    }
    return value
  }

  // MARK: Sorting

  /// The items in ascending order of their keys; equal ones keep their order.
  func sorted<Item>(
    _ items: [Item], reverse: Bool = false, by key: (Item) throws(ChatTemplateError) -> Jinja.Value
  ) throws(ChatTemplateError) -> [Item] {
    var pairs: [(item: Item, key: Value)] = []
    for item in reverse ? items.reversed() : items {
      pairs.append((item, try key(item)))
    }
    try charge(pairs.count)
    var width = 1
    while width < pairs.count {
      var merged: [(item: Item, key: Value)] = []
      merged.reserveCapacity(pairs.count)
      var start = 0
      while start < pairs.count {
        let middle = Swift.min(start + width, pairs.count)
        let end = Swift.min(start + 2 * width, pairs.count)
        var left = start
        var right = middle
        while left < middle, right < end {
          if try compare(.less, pairs[right].key, pairs[left].key) {
            merged.append(pairs[right])
            right += 1
          } else {
            merged.append(pairs[left])
            left += 1
          }
        }
        merged += pairs[left..<middle]
        merged += pairs[right..<end]
        start = end
      }
      pairs = merged
      width *= 2
    }
    return reverse ? pairs.reversed().map(\.item) : pairs.map(\.item)
  }

  /// The value as sorting without regard to case sees it.
  func caseFolded(_ value: Jinja.Value, unless isCaseSensitive: Bool) -> Jinja.Value {
    guard !isCaseSensitive, let text = value.text else { return value }
    return .string(PythonText.lower(text))
  }
}
