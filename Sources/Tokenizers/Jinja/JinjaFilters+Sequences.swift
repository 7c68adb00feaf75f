extension Jinja.Interpreter {
  private typealias Value = Jinja.Value
  private typealias ValueIterator = Jinja.ValueIterator

  func applySequenceFilter(
    _ filter: Jinja.Filter, to value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch filter {
    case .count, .length:
      _ = try arguments.bind([], for: filter.rawValue, self)
      return .int(try length(of: value))
    case .list:
      _ = try arguments.bind([], for: filter.rawValue, self)
      return .list(try elements(of: value))
    case .first:
      _ = try arguments.bind([], for: filter.rawValue, self)
      return try iterator(over: value).next()
        ?? .undefined(.hint("no first item, the sequence was empty"))
    case .last:
      _ = try arguments.bind([], for: filter.rawValue, self)
      return try reversed(value).next()
        ?? .undefined(.hint("no last item, the sequence was empty"))
    case .reverse:
      _ = try arguments.bind([], for: filter.rawValue, self)
      if let text = value.text {
        return .string(PythonText.string(text.unicodeScalars.reversed()))
      }
      if case .iterator = value {
        return .list(try elements(of: value).reversed())
      }
      return .iterator(try reversed(value))
    case .items:
      _ = try arguments.bind([], for: filter.rawValue, self)
      return try items(value)
    case .batch, .slice:
      return .iterator(
        Self.deferred { () throws(ChatTemplateError) -> [Jinja.Value] in
          try self.parts(filter, of: value, arguments)
        })
    case .dictsort:
      return try sortedPairs(value, arguments)
    default:
      return try applyOrderFilter(filter, to: value, arguments)
    }
  }

  private func reversed(_ value: Jinja.Value) throws(ChatTemplateError) -> Jinja.ValueIterator {
    switch value {
    case .iterator, .loop:
      throw failure("a \(value.typeName) has no end to begin from; use 'list' first")
    default:
      return ValueIterator(try elements(of: value).reversed())
    }
  }

  private func items(_ value: Jinja.Value) throws(ChatTemplateError) -> Jinja.Value {
    switch value {
    case .undefined:
      return .iterator(ValueIterator([]))
    case .dictionary(let mapping):
      return .iterator(ValueIterator(mapping.pairs.map { .tuple([$0.key, $0.value]) }))
    default:
      let message = "only a dictionary has items, not a \(value.typeName)"
      let error = failure(message)
      return .iterator(
        ValueIterator { () throws(ChatTemplateError) -> Jinja.Value? in throw error })
    }
  }

  /// An iterator whose elements are all made when the first one is asked for.
  private static func deferred(
    _ make: @escaping () throws(ChatTemplateError) -> [Jinja.Value]
  ) -> Jinja.ValueIterator {
    var source: ValueIterator?
    return ValueIterator { () throws(ChatTemplateError) -> Jinja.Value? in
      if source == nil {
        source = ValueIterator(try make())
      }
      return try source?.next()
    }
  }

  private func parts(
    _ filter: Jinja.Filter, of value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> [Jinja.Value] {
    let name = filter == .batch ? "linecount" : "slices"
    let values = try arguments.bind([name, "fill_with"], required: 1, for: filter.rawValue, self)
    guard let size = values[0]?.integer, size > 0 else {
      throw failure("'\(name)' of '\(filter.rawValue)' is a positive number")
    }
    let fill = values[1].flatMap { $0.isNone ? nil : $0 }
    let all = try elements(of: value)
    var lists: [Value] = []
    if filter == .batch {
      for start in Swift.stride(from: 0, to: all.count, by: size) {
        var part = Array(all[start..<Swift.min(start + size, all.count)])
        if let fill, part.count < size {
          try charge(size - part.count)
          part += repeatElement(fill, count: size - part.count)
        }
        lists.append(.list(part))
      }
    } else {
      try charge(size)
      var start = 0
      for index in 0..<size {
        let hasExtra = index < all.count % size
        let end = start + all.count / size + (hasExtra ? 1 : 0)
        var part = Array(all[start..<end])
        if let fill, !hasExtra {
          part.append(fill)
        }
        lists.append(.list(part))
        start = end
      }
    }
    return lists
  }

  private func sortedPairs(
    _ value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    let values = try arguments.bind(
      ["case_sensitive", "by", "reverse"], for: "dictsort", self)
    let by = values[1]?.text ?? "key"
    guard by == "key" || by == "value" else {
      throw failure("'dictsort' sorts by \"key\" or by \"value\"")
    }
    guard case .dictionary(let mapping) = value else {
      throw failure("'dictsort' needs a dictionary, not a \(value.typeName)")
    }
    let isCaseSensitive = values[0]?.isTrue ?? false
    let pairs = try sorted(mapping.pairs, reverse: values[2]?.isTrue ?? false) {
      caseFolded(by == "key" ? $0.key : $0.value, unless: isCaseSensitive)
    }
    return .list(pairs.map { .tuple([$0.key, $0.value]) })
  }

  private func applyOrderFilter(
    _ filter: Jinja.Filter, to value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch filter {
    case .sort:
      let values = try arguments.bind(
        ["reverse", "case_sensitive", "attribute"], for: filter.rawValue, self)
      let isCaseSensitive = values[1]?.isTrue ?? false
      var paths: [[Value]] = []
      if let text = values[2]?.text {
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
          paths.append(try path(of: .string(String(part))))
        }
      } else {
        paths = [try path(of: values[2])]
      }
      let list = try elements(of: value)
      return .list(
        try sorted(list, reverse: values[0]?.isTrue ?? false) {
          item throws(ChatTemplateError) -> Value in
          var keys: [Value] = []
          for path in paths {
            keys.append(caseFolded(try follow(path, from: item), unless: isCaseSensitive))
          }
          return .list(keys)
        })
    case .groupby:
      return try grouped(value, arguments)
    default:
      let values = try arguments.bind(
        ["case_sensitive", "attribute"], for: filter.rawValue, self)
      let isCaseSensitive = values[0]?.isTrue ?? false
      let path = try path(of: values[1])
      if filter == .unique {
        return try unique(value, path, isCaseSensitive: isCaseSensitive)
      }
      return try extreme(filter, of: value, path, isCaseSensitive: isCaseSensitive)
    }
  }

  private func unique(
    _ value: Jinja.Value, _ path: [Jinja.Value], isCaseSensitive: Bool
  ) throws(ChatTemplateError) -> Jinja.Value {
    var source: ValueIterator?
    var seen: Set<Jinja.Key> = []
    return .iterator(
      ValueIterator { () throws(ChatTemplateError) -> Jinja.Value? in
        if source == nil {
          source = try self.iterator(over: value)
        }
        while let item = try source?.next() {
          try self.charge(1)
          let found = self.caseFolded(try self.follow(path, from: item), unless: isCaseSensitive)
          guard let key = Jinja.Key(found) else {
            throw self.failure("'unique' cannot compare a \(found.typeName)")
          }
          if seen.insert(key).inserted {
            return item
          }
        }
        return nil
      })
  }

  private func extreme(
    _ filter: Jinja.Filter, of value: Jinja.Value, _ path: [Jinja.Value], isCaseSensitive: Bool
  ) throws(ChatTemplateError) -> Jinja.Value {
    var best: (item: Value, key: Value)?
    for item in try elements(of: value) {
      let key = caseFolded(try follow(path, from: item), unless: isCaseSensitive)
      if let current = best {
        let isBetter = try compare(filter == .min ? .less : .greater, key, current.key)
        guard isBetter else { continue }
      }
      best = (item, key)
    }
    return best?.item ?? .undefined(.hint("no item to choose, the sequence was empty"))
  }

  private func grouped(
    _ value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    let values = try arguments.bind(
      ["attribute", "default", "case_sensitive"], required: 1, for: "groupby", self)
    let path = try path(of: values[0])
    let fallback = values[1].flatMap { $0.isNone ? nil : $0 }
    let isCaseSensitive = values[2]?.isTrue ?? false
    func key(_ item: Jinja.Value) throws(ChatTemplateError) -> Jinja.Value {
      caseFolded(try follow(path, from: item, or: fallback), unless: isCaseSensitive)
    }
    var groups: [(key: Value, items: [Value])] = []
    for item in try sorted(try elements(of: value), by: key) {
      let itemKey = try key(item)
      if let last = groups.last, Value.equal(last.key, itemKey) {
        groups[groups.count - 1].items.append(item)
      } else {
        groups.append((itemKey, [item]))
      }
    }
    var result: [Value] = []
    for group in groups {
      let label = try follow(path, from: group.items[0], or: fallback)
      result.append(.tuple([isCaseSensitive ? group.key : label, .list(group.items)]))
    }
    return .list(result)
  }
}
