extension Jinja {
  /// A running loop: its position, and one element of look-ahead when the template asks for it.
  final class LoopState {
    private var iterator: ValueIterator
    private var knownCount: Int?
    private var after: Value?
    private var hasPeeked = false
    private var current: Value?
    private var lastChanged: [Value]?
    private(set) var before: Value?
    private(set) var index0 = -1
    let depth0: Int
    /// The loop statement and the scope around it, for a recursive call.
    let recursion: (loop: ForLoop, scope: Scope)?

    init(
      _ iterator: ValueIterator, count: Int?, depth0: Int, recursion: (loop: ForLoop, scope: Scope)?
    ) {
      self.iterator = iterator
      knownCount = count
      self.depth0 = depth0
      self.recursion = recursion
    }

    /// Moves to the next element.
    func next() throws(ChatTemplateError) -> Value? {
      let value: Value?
      if hasPeeked {
        value = after
        after = nil
        hasPeeked = false
      } else {
        value = try iterator.next()
      }
      guard let value else { return nil }
      index0 += 1
      before = current
      current = value
      return value
    }

    private func peek() throws(ChatTemplateError) -> Value? {
      if !hasPeeked {
        after = try iterator.next()
        hasPeeked = true
      }
      return after
    }

    /// The number of elements; elements of a filtered loop are all taken to count them.
    func count() throws(ChatTemplateError) -> Int {
      if let knownCount {
        return knownCount
      }
      var rest: [Value] = []
      while let value = try iterator.next() {
        rest.append(value)
      }
      iterator = ValueIterator(rest)
      let count = rest.count + index0 + 1 + (hasPeeked && after != nil ? 1 : 0)
      knownCount = count
      return count
    }

    /// An attribute of the variable `loop`, or nil when there is none of this name.
    func attribute(_ name: String) throws(ChatTemplateError) -> Value? {
      switch name {
      case "index0": return .int(index0)
      case "index": return .int(index0 + 1)
      case "first": return .bool(index0 == 0)
      case "last": return .bool(try peek() == nil)
      case "length": return .int(try count())
      case "revindex": return .int(try count() - index0)
      case "revindex0": return .int(try count() - index0 - 1)
      case "depth": return .int(depth0 + 1)
      case "depth0": return .int(depth0)
      case "previtem":
        return index0 == 0
          ? .undefined(.hint("there is no previous item"))
          : before ?? .undefined(.hint("there is no previous item"))
      case "nextitem":
        return try peek() ?? .undefined(.hint("there is no next item"))
      case "cycle", "changed":
        return .method(BoundMethod(.loop(self), name))
      default:
        return nil
      }
    }

    /// Whether the values differ from those of the last call.
    func changed(_ values: [Value]) -> Bool {
      if let lastChanged, Value.equal(.tuple(lastChanged), .tuple(values)) {
        return false
      }
      lastChanged = values
      return true
    }
  }
}
