extension CommandSpecification {
  /// Returns the help of this command.
  ///
  /// A required value is shown as `--name VALUE`, one that can be left out as `--name [VALUE]`, and
  /// a flag that is set by default as `--[no-]name`.
  /// - Parameters:
  ///   - program: The name of the program, which stands before the name of the command.
  ///   - columns: The width at which lines are broken.
  /// - Returns: Lines that end with a line feed each.
  public func help(program: String, columns: Int = 90) -> String {
    let words = [program, name].filter { !$0.isEmpty } + ["[options]"] + positionals.map(\.usage)
    var lines = wrapped("Usage: " + words.joined(separator: " "), columns: columns, indent: 7)
    lines += [""] + wrapped(summary, columns: columns)
    for paragraph in paragraphs(of: discussion) {
      lines += [""] + wrapped(paragraph, columns: columns)
    }
    let sections = helpSections
    let widest = sections.flatMap(\.rows).map(\.left.count).filter { $0 <= 28 }.max() ?? 0
    for section in sections {
      lines += ["", section.title + ":"]
      for row in section.rows {
        lines += row.lines(leftWidth: widest, columns: columns)
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// Positionals, then the groups of options in the order of their first option; `--help` is last
  /// in the group "Options".
  private var helpSections: [(title: String, rows: [HelpRow])] {
    var titles: [String] = []
    for option in details where !titles.contains(option.group) { titles.append(option.group) }
    if !titles.contains("Options") { titles.append("Options") }
    var sections: [(title: String, rows: [HelpRow])] = titles.map { title in
      (title, details.filter { $0.group == title }.map(\.helpRow))
    }
    let help = HelpRow(left: "-h, --help", right: "Show this help.")
    for index in sections.indices where sections[index].title == "Options" {
      sections[index].rows.append(help)
    }
    let arguments = positionals.map { HelpRow(left: $0.name, right: $0.help) }
    return (arguments.isEmpty ? [] : [("Arguments", arguments)]) + sections
  }
}

/// One entry of the help: how an option is spelt, and what it does.
private struct HelpRow {
  var left: String
  var right: String

  /// The lines of this entry, with the right part beside the left one if that fits its column.
  func lines(leftWidth: Int, columns: Int) -> [String] {
    let indent = leftWidth + 4
    let text = wrapped(
      String(repeating: " ", count: indent) + right, columns: columns, indent: indent)
    guard left.count <= leftWidth, let first = text.first else { return ["  " + left] + text }
    let padding = String(repeating: " ", count: leftWidth - left.count + 2)
    return ["  " + left + padding + first.dropFirst(indent)] + text.dropFirst()
  }
}

extension OptionDetails {
  /// The placeholder of the value in error messages.
  package var placeholder: String { valueName ?? "" }

  /// The placeholder of the value in help: choices too long for a column are called CHOICE.
  package var helpPlaceholder: String { hasLongChoices ? "CHOICE" : placeholder }

  private var hasLongChoices: Bool { !choices.isEmpty && placeholder.count > 16 }

  fileprivate var helpRow: HelpRow {
    var left = short.map { "-\($0), " } ?? ""
    left += isFlag && defaultText == "true" ? "--[no-]\(name)" : "--\(name)"
    if !isFlag { left += impliedText == nil ? " \(helpPlaceholder)" : " [\(helpPlaceholder)]" }
    var right = help
    if hasLongChoices { right += " One of \(choices.joined(separator: ", "))." }
    if isRepeated { right += " Can be repeated." }
    if let defaultText, !(isFlag && defaultText == "false") {
      right += " (default: \(defaultText.isEmpty ? "\"\"" : defaultText))"
    }
    return HelpRow(left: left, right: right)
  }
}

extension Positional {
  fileprivate var usage: String {
    switch count {
    case .required: name
    case .optional: "[\(name)]"
    case .variadic: "[\(name) ...]"
    }
  }
}

/// Breaks a text at spaces; its own leading spaces are kept, and further lines begin with `indent`.
private func wrapped(_ text: String, columns: Int, indent: Int = 0) -> [String] {
  var lines: [String] = []
  var line = String(text.prefix { $0 == " " })
  var isEmpty = true
  for word in text.split(whereSeparator: \.isWhitespace) {
    if !isEmpty, line.count + 1 + word.count > columns {
      lines.append(line)
      line = String(repeating: " ", count: indent)
      isEmpty = true
    }
    line += (isEmpty ? "" : " ") + word
    isEmpty = false
  }
  return isEmpty ? lines : lines + [line]
}

/// Splits a text at its empty lines.
private func paragraphs(of text: String) -> [String] {
  text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    .split { $0.allSatisfy(\.isWhitespace) }
    .map { $0.joined(separator: " ") }
}
