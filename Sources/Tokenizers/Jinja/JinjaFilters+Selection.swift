extension Jinja.Interpreter {
  private typealias Value = Jinja.Value
  private typealias ValueIterator = Jinja.ValueIterator

  /// `map`, `select` and their relatives: their results are made one by one when asked for.
  func applySelection(
    _ filter: Jinja.Filter, to value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    var source: ValueIterator?
    var transform: ((Value) throws(ChatTemplateError) -> Value?)?
    return .iterator(
      ValueIterator { () throws(ChatTemplateError) -> Jinja.Value? in
        // Nothing is checked for an empty value, and nothing before the first element is wanted.
        guard value.isTrue else { return nil }
        if source == nil {
          transform =
            filter == .map ? try self.mapper(arguments) : try self.selector(filter, arguments)
          source = try self.iterator(over: value)
        }
        while let item = try source?.next() {
          try self.charge(1)
          if let result = try transform?(item) {
            return result
          }
        }
        return nil
      })
  }

  private func mapper(
    _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> (Jinja.Value) throws(ChatTemplateError) -> Jinja.Value? {
    if arguments.positional.isEmpty, arguments.keywords.contains(where: { $0.name == "attribute" })
    {
      let values = try arguments.bind(["attribute", "default"], for: "map", self)
      let path = try path(of: values[0])
      let fallback = values[1].flatMap { $0.isNone ? nil : $0 }
      return { (item) throws(ChatTemplateError) -> Jinja.Value? in
        try self.follow(path, from: item, or: fallback)
      }
    }
    guard let name = arguments.positional.first?.text else {
      throw failure("'map' needs the name of a filter, or attribute=")
    }
    guard let filter = Jinja.Filter(rawValue: name) else {
      throw failure("no filter is named '\(name)'")
    }
    let rest = Jinja.Arguments(
      positional: Array(arguments.positional.dropFirst()), keywords: arguments.keywords)
    return { (item) throws(ChatTemplateError) -> Jinja.Value? in
      try self.enter()
      let result = try self.apply(filter, to: item, rest)
      self.leave()
      return result
    }
  }

  private func selector(
    _ filter: Jinja.Filter, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> (Jinja.Value) throws(ChatTemplateError) -> Jinja.Value? {
    var positional = arguments.positional[...]
    var path: [Value] = []
    if filter == .selectattr || filter == .rejectattr {
      guard let attribute = positional.popFirst() else {
        throw failure("'\(filter.rawValue)' needs the name of an attribute")
      }
      path = try self.path(of: attribute)
    }
    var test: Jinja.Test?
    if let value = positional.popFirst() {
      guard let name = value.text, let known = Jinja.Test(rawValue: name) else {
        throw failure("no test is named '\(try string(value))'")
      }
      test = known
    }
    let rest = Jinja.Arguments(positional: Array(positional), keywords: arguments.keywords)
    let wanted = filter == .select || filter == .selectattr
    return { (item) throws(ChatTemplateError) -> Jinja.Value? in
      let value = try self.follow(path, from: item)
      let holds: Bool
      if let test {
        holds = try self.holds(test, value, rest)
      } else {
        holds = value.isTrue
      }
      return holds == wanted ? item : nil
    }
  }
}
