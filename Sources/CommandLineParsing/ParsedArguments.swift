/// What a command line says, completed by a recipe where one was merged.
///
/// Options and positionals are looked up by their declarations; asking for one that the
/// specification does not list is a mistake in the program, and traps.
public struct ParsedArguments: Sendable {
  /// Whether `-h` or `--help` was given.
  public internal(set) var wantsHelp = false

  package let specification: CommandSpecification
  /// The texts given on the command line, by option name; each is a value of its option.
  var given: [String: [String]] = [:]
  /// The texts of recipes and `--set`, by option name; each is a value of its option.
  var merged: [String: [String]] = [:]
  var positionalTexts: [String] = []

  init(specification: CommandSpecification) {
    self.specification = specification
  }

  /// The value of an option or its default, nil if it has none of both; the last one given wins.
  public subscript<V>(_ option: Option<V>) -> V? {
    texts(option.name).last.flatMap { V(optionText: $0) } ?? option.defaultValue
  }

  /// Whether a flag is set.
  public subscript(_ flag: Flag) -> Bool {
    (texts(flag.name).last ?? flag.details.defaultText) == "true"
  }

  /// Returns the value of an option that must have one.
  /// - Parameter option: The option.
  /// - Returns: The value given last, or the default.
  /// - Throws: `UsageError` if there is neither.
  public func value<V>(_ option: Option<V>) throws(UsageError) -> V {
    guard let value = self[option] else {
      throw UsageError("missing required --\(option.name) \(option.details.placeholder)")
    }
    return value
  }

  /// Checks that options which must be given have a value, so that a message can name all at once.
  /// - Parameter options: The options.
  /// - Throws: `UsageError` naming every one without a value or a default.
  public func require(_ options: any OptionDeclaration...) throws(UsageError) {
    let missing = options.map(\.details).filter { texts($0.name).isEmpty && $0.defaultText == nil }
    guard !missing.isEmpty else { return }
    throw UsageError(
      "missing required " + missing.map { "--\($0.name) \($0.placeholder)" }.joined(separator: ", ")
    )
  }

  /// Returns all values of a repeated option.
  /// - Parameter option: The option.
  /// - Returns: The values in their order; if none is given, the default, if there is one.
  public func values<V>(_ option: Option<V>) -> [V] {
    let values = texts(option.name).compactMap { V(optionText: $0) }
    return values.isEmpty ? option.defaultValue.map { [$0] } ?? [] : values
  }

  /// Returns the argument at the place of a positional.
  /// - Parameter positional: The positional.
  /// - Returns: The argument, the first one of a variadic positional, or nil if there is none.
  public func positional(_ positional: Positional) -> String? {
    positionals(positional).first
  }

  /// Returns the arguments at the place of a positional.
  /// - Parameter positional: The positional, usually a variadic one.
  /// - Returns: The arguments in their order.
  public func positionals(_ positional: Positional) -> [String] {
    let place = specification.positionals.firstIndex { $0.name == positional.name }
    guard let place else {
      preconditionFailure("\(specification.name) does not declare \(positional.name)")
    }
    let texts = positionalTexts.dropFirst(place)
    return Array(positional.count == .variadic ? texts : texts.prefix(1))
  }

  /// Returns whether the command line or a recipe sets an option.
  /// - Parameter name: The long name of an option or flag, without dashes.
  /// - Returns: Whether it was given or merged, be it with its default value.
  public func isGiven(_ name: String) -> Bool {
    !texts(name).isEmpty
  }

  /// Returns every option of the specification with its value, for printing or saving.
  ///
  /// Merging the pairs that have a value into an empty command line gives the same values again.
  /// - Returns: Pairs in the order of the specification; a repeated option has one for each value,
  ///   and the value is nil if there is neither one nor a default.
  public func resolved() -> [(name: String, value: String?)] {
    var pairs: [(name: String, value: String?)] = []
    for option in specification.details {
      let texts = texts(option.name)
      if texts.isEmpty {
        pairs.append((option.name, option.defaultText))
      } else {
        let effective = option.isRepeated ? texts[...] : texts.suffix(1)
        pairs += effective.map { (option.name, $0) }
      }
    }
    return pairs
  }

  private func texts(_ name: String) -> [String] {
    precondition(
      specification.option(named: name) != nil, "\(specification.name) has no option --\(name)")
    return given[name] ?? merged[name] ?? []
  }
}

extension ParsedArguments {
  /// Fills in the options that the command line leaves open.
  ///
  /// Later pairs and later calls win over earlier ones; the values of a repeated option within one
  /// call stay together and replace those of earlier calls. Nothing changes if an error is thrown.
  /// - Parameters:
  ///   - pairs: Long option names with their values; flags take `true` or `false`.
  ///   - source: Where the pairs come from, for messages: a file name, or `--set`.
  /// - Throws: `UsageError` for a name that is no option, or a value of the wrong type.
  public mutating func merge(
    _ pairs: [(name: String, value: String)], source: String
  ) throws(UsageError) {
    var fresh: [String: [String]] = [:]
    for (name, value) in pairs {
      guard let option = specification.option(named: name) else {
        let names = specification.details.map(\.name)
        let nearest = nearestName(name, among: names).map { "; did you mean '\($0)'?" } ?? ""
        throw UsageError("\(source): unknown key '\(name)'\(nearest)")
      }
      let text = try option.checked(value, spelling: "'\(name)' in \(source)")
      fresh[name, default: []].append(text)
    }
    merged.merge(fresh) { _, later in later }
  }
}
