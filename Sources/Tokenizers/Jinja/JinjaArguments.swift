extension Jinja {
  /// The evaluated arguments of a call.
  struct Arguments {
    var positional: [Value] = []
    var keywords: [(name: String, value: Value)] = []

    /// Assigns the arguments to parameters, as a Python call does.
    ///
    /// - Parameters:
    ///   - names: The parameters in their order.
    ///   - required: How many of them have no default.
    ///   - callee: What is called, for messages.
    ///   - interpreter: Names the line in messages.
    /// - Returns: A value or nil for every parameter.
    /// - Throws: An error for an argument that is missing, unknown or given twice.
    func bind(
      _ names: [String], required: Int = 0, for callee: String, _ interpreter: Interpreter
    ) throws(ChatTemplateError) -> [Value?] {
      guard positional.count <= names.count else {
        throw interpreter.failure(
          "'\(callee)' takes at most \(names.count) arguments, not \(positional.count)")
      }
      var bound: [Value?] = positional.map { $0 }
      bound += [Value?](repeating: nil, count: names.count - positional.count)
      for keyword in keywords {
        guard let index = names.firstIndex(of: keyword.name) else {
          throw interpreter.failure("'\(callee)' has no argument '\(keyword.name)'")
        }
        guard bound[index] == nil else {
          throw interpreter.failure("'\(callee)' gets the argument '\(keyword.name)' twice")
        }
        bound[index] = keyword.value
      }
      for index in 0..<required where bound[index] == nil {
        throw interpreter.failure("'\(callee)' needs the argument '\(names[index])'")
      }
      return bound
    }
  }
}
