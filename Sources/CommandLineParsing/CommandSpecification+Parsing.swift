extension CommandSpecification {
  /// Reads a command line.
  ///
  /// After `--` everything is positional. A text that begins with a dash is a value or a positional
  /// unless it is spelt like an option, so negative numbers need no care; `--name=value` takes
  /// any value. At `-h` or `--help` reading stops, and nothing is required.
  /// - Parameter arguments: The arguments after the name of the command.
  /// - Returns: What was given.
  /// - Throws: `UsageError` for an unknown option, a bad or missing value, or a wrong number of
  ///   positional arguments.
  public func parse(_ arguments: [String]) throws(UsageError) -> ParsedArguments {
    var parsed = ParsedArguments(specification: self)
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      if argument == "--" {
        parsed.positionalTexts += rest
        break
      }
      guard beginsLikeOption(argument) else {
        parsed.positionalTexts.append(argument)
        continue
      }
      if argument == "-h" || argument == "--help" {
        parsed.wantsHelp = true
        return parsed
      }
      let (option, text) = try match(argument, rest: &rest)
      parsed.given[option.name, default: []].append(text)
    }
    try checkPositionals(parsed.positionalTexts)
    return parsed
  }

  /// Finds the option that an argument spells, and takes its value from it or from what follows.
  private func match(
    _ argument: String, rest: inout ArraySlice<String>
  ) throws(UsageError) -> (OptionDetails, String) {
    let equals = argument.utf8.firstIndex(of: UInt8(ascii: "="))
    let spelling = String(argument[..<(equals ?? argument.endIndex)])
    let attached = equals.map { String(argument.utf8[argument.utf8.index(after: $0)...]) ?? "" }
    if let flag = details.first(where: { $0.isFlag && "--no-\($0.name)" == spelling }) {
      guard attached == nil else { throw UsageError("\(spelling) takes no value") }
      return (flag, "false")
    }
    guard let option = details.first(where: { $0.isSpelt(spelling) }) else {
      throw UsageError(unknown(spelling))
    }
    if let attached {
      return (option, try option.checked(attached, spelling: spelling))
    }
    if option.isFlag { return (option, "true") }
    if let next = rest.first, !isSpeltLikeOption(next), next != "--" {
      rest.removeFirst()
      return (option, try option.checked(next, spelling: spelling))
    }
    if let implied = option.impliedText { return (option, implied) }
    let value = option.placeholder
    let dashes = rest.isEmpty ? "" : " (--\(option.name)=\(value) if it begins with a dash)"
    throw UsageError("\(spelling) needs a value: \(spelling) \(value)\(dashes)")
  }

  private func unknown(_ spelling: String) -> String {
    var names = details.map { "--\($0.name)" } + ["--help"]
    names += details.filter(\.isFlag).map { "--no-\($0.name)" }
    let nearest = nearestName(spelling, among: names).map { "; did you mean \($0)?" } ?? ""
    return "unknown option \(spelling)\(nearest)"
  }

  private func checkPositionals(_ texts: [String]) throws(UsageError) {
    let required = positionals.filter { $0.count == .required }
    if texts.count < required.count {
      let missing = required[texts.count...].map(\.name).joined(separator: " ")
      throw UsageError("missing argument \(missing)")
    }
    if positionals.last?.count != .variadic, texts.count > positionals.count {
      throw UsageError("unexpected argument '\(texts[positionals.count])'")
    }
  }
}

private let dash = UInt8(ascii: "-")

private func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte | 0x20) }

/// Returns whether an argument is meant as an option, so that it is an error if it is unknown.
private func beginsLikeOption(_ argument: String) -> Bool {
  let bytes = argument.utf8.prefix(2)
  guard bytes.count == 2, let second = bytes.last else { return false }
  return bytes.first == dash && (second == dash || isLetter(second))
}

/// Returns whether an argument has the form of an option, known or not: `-x`, `--name` or
/// `--name=value`, with names of letters, digits, hyphens and underscores that begin with a letter.
private func isSpeltLikeOption(_ argument: String) -> Bool {
  let bytes = Array(argument.utf8)
  guard bytes.count >= 2, bytes[0] == dash else { return false }
  if isLetter(bytes[1]) { return bytes.count == 2 }
  guard bytes[1] == dash, bytes.count > 2, isLetter(bytes[2]) else { return false }
  return bytes[2...].prefix { $0 != UInt8(ascii: "=") }.allSatisfy { byte in
    isLetter(byte) || (0x30...0x39).contains(byte) || byte == dash
      || byte == UInt8(ascii: "_")
  }
}

extension OptionDetails {
  fileprivate func isSpelt(_ spelling: String) -> Bool {
    spelling == "--\(name)" || short.map { spelling == "-\($0)" } ?? false
  }

  /// Returns a text if it is a value of this option.
  package func checked(_ text: String, spelling: String) throws(UsageError) -> String {
    if accepts(text) { return text }
    let expected = isFlag ? "true|false" : placeholder
    let nearest = nearestName(text, among: choices).map { "; did you mean \($0)?" } ?? ""
    throw UsageError("invalid value '\(text)' for \(spelling), expected \(expected)\(nearest)")
  }
}
