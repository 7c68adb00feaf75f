/// The options and arguments of one command.
public struct CommandSpecification: Sendable {
  /// The name of the command; empty for the program itself.
  public let name: String
  /// One sentence on what the command does.
  public let summary: String
  /// Paragraphs for the help, separated by empty lines.
  public let discussion: String
  /// The options and flags, in the order of the help.
  public let options: [any OptionDeclaration]
  /// The positional arguments, in their order.
  public let positionals: [Positional]

  package let details: [OptionDetails]

  /// Declares a command; `--help` and `-h` are added to every one.
  ///
  /// Names must be unique, and required positionals come before optional ones, a variadic one last.
  /// - Parameters:
  ///   - name: The name of the command; empty for the program itself.
  ///   - summary: One sentence on what the command does.
  ///   - discussion: Paragraphs for the help, separated by empty lines.
  ///   - options: The options and flags, in the order of the help.
  ///   - positionals: The positional arguments, in their order.
  public init(
    name: String, summary: String, discussion: String = "", options: [any OptionDeclaration],
    positionals: [Positional] = []
  ) {
    self.name = name
    self.summary = summary
    self.discussion = discussion
    self.options = options
    self.positionals = positionals
    self.details = options.map(\.details)
    var spellings: Set<String> = ["--help", "-h"]
    for option in details {
      let shorts = option.short.map { ["-\($0)"] } ?? []
      let negations = option.isFlag ? ["--no-\(option.name)"] : []
      for spelling in ["--\(option.name)"] + shorts + negations {
        precondition(
          spellings.insert(spelling).inserted, "\(name): \(spelling) is declared twice")
      }
    }
    for (former, latter) in zip(positionals, positionals.dropFirst()) {
      precondition(
        former.count == .required || (former.count == .optional && latter.count != .required),
        "\(name): \(latter.name) cannot follow \(former.name)")
    }
  }

  package func option(named name: String) -> OptionDetails? {
    details.first { $0.name == name }
  }
}
