/// Returns a script that completes the commands, options and choices of a program in a shell.
/// - Parameters:
///   - shell: `bash`, `zsh` or `fish`.
///   - program: The name of the program.
///   - commands: The commands; one with an empty name holds the options of the program itself.
/// - Returns: The script, to be read by the shell at its start.
/// - Throws: `UsageError` for another shell.
public func completionScript(
  shell: String, program: String, commands: [CommandSpecification]
) throws(UsageError) -> String {
  switch shell {
  case "bash": return bashScript(program, commands)
  case "zsh": return zshScript(program, commands)
  case "fish": return fishScript(program, commands)
  default:
    let shells = ["bash", "zsh", "fish"]
    let nearest = nearestName(shell, among: shells).map { "; did you mean \($0)?" } ?? ""
    throw UsageError("no completion for the shell '\(shell)', only bash, zsh and fish\(nearest)")
  }
}

extension CommandSpecification {
  /// The long spellings of every option, `--help` included.
  fileprivate var spellings: [String] {
    details.flatMap { option in
      ["--\(option.name)"] + (option.isFlag ? ["--no-\(option.name)"] : [])
    } + ["--help"]
  }
}

extension OptionDetails {
  /// The long and the short spelling.
  fileprivate var spellings: [String] {
    ["--\(name)"] + (short.map { ["-\($0)"] } ?? [])
  }
}

/// Puts a text into single quotes, as bash and zsh read them.
private func quoted(_ text: String) -> String {
  var result = "'"
  for scalar in text.unicodeScalars {
    if scalar == "'" { result += #"'\''"# } else { result.unicodeScalars.append(scalar) }
  }
  return result + "'"
}

/// Returns the name of a shell function for a program.
private func functionName(_ program: String) -> String {
  "_" + program.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? String($0) : "_" }.joined()
}

/// The completion script of bash.
///
/// Names and choices hold no spaces, so that lists of them can be split at spaces. The word before
/// the cursor decides on choices, also when bash has split `--name=value` at "=".
private func bashScript(_ program: String, _ commands: [CommandSpecification]) -> String {
  let name = functionName(program)
  let verbs = commands.map(\.name).filter { !$0.isEmpty }
  var lines = [
    "\(name)() {", #"  local current="${COMP_WORDS[COMP_CWORD]}""#,
    #"  local previous="${COMP_WORDS[COMP_CWORD-1]}""#, #"  local command="" words="""#,
    #"  if [[ $COMP_CWORD -gt 1 ]]; then command="${COMP_WORDS[1]}"; fi"#,
    #"  if [[ $current == "=" ]]; then current="""#,
    #"  elif [[ $previous == "=" ]]; then previous="${COMP_WORDS[COMP_CWORD-2]}"; fi"#,
    "  COMPREPLY=()", #"  case "$command $previous" in"#,
  ]
  for command in commands {
    for option in command.details where !option.choices.isEmpty {
      let patterns = option.spellings.map { quoted("\(command.name) \($0)") }
      lines.append("    \(patterns.joined(separator: " | ")))")
      let choices = quoted(option.choices.joined(separator: " "))
      lines.append("      COMPREPLY=($(compgen -W \(choices) -- \"$current\")); return ;;")
    }
  }
  lines += ["  esac", #"  case "$command" in"#]
  for command in commands where !command.name.isEmpty {
    let spellings = quoted(command.spellings.joined(separator: " "))
    lines.append("    \(quoted(command.name))) words=\(spellings) ;;")
  }
  let own = commands.first { $0.name.isEmpty }?.spellings ?? ["--help"]
  lines += [
    "    '') words=\(quoted((verbs + own).joined(separator: " "))) ;;", "  esac",
    #"  if [[ $COMP_CWORD -eq 1 || $current == -* ]]; then"#,
    #"    COMPREPLY=($(compgen -W "$words" -- "$current"))"#, "  fi", "}",
    "complete -o default -F \(name) \(quoted(program))",
  ]
  return lines.joined(separator: "\n") + "\n"
}

/// `_arguments` of zsh reads colons and brackets in its specifications as its own.
private func zshScript(_ program: String, _ commands: [CommandSpecification]) -> String {
  let name = functionName(program)
  func escaped(_ text: String) -> String {
    text.map { #"\:[]"#.contains($0) ? "\\\($0)" : String($0) }.joined()
  }
  func arguments(of command: CommandSpecification) -> [String] {
    var specifications: [String] = []
    for option in command.details {
      let help = "[\(escaped(option.help))]"
      if option.isFlag {
        specifications += ["--\(option.name)\(help)", "--no-\(option.name)\(help)"]
        continue
      }
      let action =
        option.choices.isEmpty ? "_files" : "(\(option.choices.joined(separator: " ")))"
      let message = escaped(option.helpPlaceholder)
      let colon = option.impliedText == nil ? ":" : "::"
      let star = option.isRepeated ? "*" : ""
      specifications += option.spellings.map { spelling in
        let equals = spelling.hasPrefix("--") ? "=" : ""
        return "\(star)\(spelling)\(equals)\(help)\(colon)\(message):\(action)"
      }
    }
    return (specifications + ["(- *)--help[Show this help.]"]).map(quoted)
  }
  var lines = ["#compdef \(program)", "", "\(name)() {", "  local -a commands", "  commands=("]
  for command in commands where !command.name.isEmpty {
    lines.append("    \(quoted("\(command.name):\(escaped(command.summary))"))")
  }
  lines += ["  )", "  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then"]
  lines += ["    _describe command commands", "    return", "  fi", "  case $words[2] in"]
  for command in commands where !command.name.isEmpty {
    lines += ["    \(quoted(command.name)))", "      shift words", "      (( CURRENT-- ))"]
    lines.append("      _arguments -s \\")
    lines += arguments(of: command).map { "        \($0) \\" } + ["        '*:file:_files' ;;"]
  }
  let own = commands.first { $0.name.isEmpty }.map(arguments) ?? [quoted("--help[Show this help.]")]
  lines.append("    *) _arguments \(own.joined(separator: " ")) ;;")
  lines += ["  esac", "}", ""]
  // Read from a directory of $fpath the file is the function itself; otherwise it is registered.
  lines += ["if [[ $funcstack[1] == \(name) ]]; then", "  \(name) \"$@\"", "else"]
  lines += ["  compdef \(name) \(quoted(program))", "fi"]
  return lines.joined(separator: "\n") + "\n"
}

private func fishScript(_ program: String, _ commands: [CommandSpecification]) -> String {
  func quotedForFish(_ text: String) -> String {
    "'" + text.map { #"\'"#.contains($0) ? "\\\($0)" : String($0) }.joined() + "'"
  }
  let start = "complete -c \(quotedForFish(program))"
  var lines: [String] = []
  for command in commands {
    let condition =
      command.name.isEmpty
      ? "__fish_use_subcommand" : "__fish_seen_subcommand_from \(command.name)"
    if !command.name.isEmpty {
      let summary = quotedForFish(command.summary)
      lines.append("\(start) -f -n __fish_use_subcommand -a \(command.name) -d \(summary)")
    }
    let prefix = "\(start) -n \(quotedForFish(condition))"
    for option in command.details {
      let help = quotedForFish(option.help)
      let short = option.short.map { " -s \($0)" } ?? ""
      var value = option.isFlag || option.impliedText != nil ? "" : " -r"
      if !option.choices.isEmpty {
        value = " -x -a \(quotedForFish(option.choices.joined(separator: " ")))"
      }
      lines.append("\(prefix) -l \(option.name)\(short)\(value) -d \(help)")
      if option.isFlag { lines.append("\(prefix) -l no-\(option.name) -d \(help)") }
    }
    lines.append("\(prefix) -s h -l help -d 'Show this help.'")
  }
  return lines.joined(separator: "\n") + "\n"
}
