extension Jinja.Value {
  private typealias Value = Jinja.Value

  /// Python's `==`.
  static func equal(_ left: Jinja.Value, _ right: Jinja.Value, depth: Int = 0) -> Bool {
    guard depth < 400 else { return false }
    switch (left, right) {
    case (.undefined, .undefined), (.none, .none):
      return true
    case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
      return equal(left, right, depth: depth)
    case (.dictionary(let left), .dictionary(let right)):
      guard left.count == right.count else { return false }
      return left.pairs.allSatisfy { pair in
        guard let key = Jinja.Key(pair.key), let other = right.value(of: key) else { return false }
        return equal(pair.value, other, depth: depth + 1)
      }
    case (.range(let left), .range(let right)):
      return left.count == right.count
        && (left.count == 0
          || (left.start == right.start && (left.count == 1 || left.step == right.step)))
    case (.namespace(let left), .namespace(let right)):
      return left === right
    case (.macro(let left), .macro(let right)):
      return left === right
    case (.loop(let left), .loop(let right)):
      return left === right
    case (.iterator(let left), .iterator(let right)):
      return left === right
    case (.function(let left), .function(let right)):
      return left == right
    case (.view(let left), .view(let right)):
      guard left.kind != .values, right.kind != .values, left.kind == right.kind else {
        return false
      }
      let others = right.elements
      return left.mapping.count == right.mapping.count
        && left.elements.allSatisfy { item in others.contains { equal(item, $0, depth: depth + 1) }
        }
    default:
      if let left = left.text, let right = right.text {
        return PythonText.equal(left, right)
      }
      if let left = left.integer, let right = right.integer {
        return left == right
      }
      if let left = left.double, let right = right.double {
        return left == right
      }
      return false
    }
  }

  private static func equal(_ left: [Jinja.Value], _ right: [Jinja.Value], depth: Int) -> Bool {
    left.count == right.count
      && zip(left, right).allSatisfy { equal($0, $1, depth: depth + 1) }
  }

  /// Whether Python's `is` holds; equal strings and numbers of one type count as one object.
  static func identical(_ left: Jinja.Value, _ right: Jinja.Value) -> Bool {
    switch (left, right) {
    case (.bool(let left), .bool(let right)): left == right
    case (.bool, _), (_, .bool): false
    case (.int, .float), (.float, .int): false
    case (.undefined, _): false
    default: equal(left, right)
    }
  }

  /// How two values compare, or nil when their types have no order.
  static func order(_ left: Jinja.Value, _ right: Jinja.Value, depth: Int = 0) -> Order? {
    guard depth < 400 else { return nil }
    switch (left, right) {
    case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
      for (first, second) in zip(left, right) where !equal(first, second) {
        return order(first, second, depth: depth + 1)
      }
      return Order(left.count, right.count)
    default:
      if let left = left.text, let right = right.text {
        if PythonText.equal(left, right) {
          return .same
        }
        return PythonText.less(left, right) ? .less : .greater
      }
      if let left = left.integer, let right = right.integer {
        return Order(left, right)
      }
      if let left = left.double, let right = right.double {
        return left.isNaN || right.isNaN ? .unordered : Order(left, right)
      }
      return nil
    }
  }

  /// The outcome of a comparison; not-a-number compares as unordered.
  enum Order {
    case less, same, greater, unordered

    init<Number: Comparable>(_ left: Number, _ right: Number) {
      self = left < right ? .less : left == right ? .same : .greater
    }
  }
}
