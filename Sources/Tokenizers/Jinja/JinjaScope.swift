extension Jinja {
  /// The variables of a part of a template; what is not here is looked up outwards.
  final class Scope {
    let parent: Scope?
    private var ids: [Int] = []
    private var values: [Value] = []

    init(parent: Scope?) {
      self.parent = parent
    }

    func set(_ id: Int, to value: Value) {
      if let index = ids.firstIndex(of: id) {
        values[index] = value
      } else {
        ids.append(id)
        values.append(value)
      }
    }

    func value(of id: Int) -> Value? {
      var scope: Scope? = self
      while let current = scope {
        if let index = current.ids.firstIndex(of: id) {
          return current.values[index]
        }
        scope = current.parent
      }
      return nil
    }
  }
}
