import CommandLineParsing
import Tensors

/// One verb of the command line.
protocol Verb: SendableMetatype {
  static var specification: CommandSpecification { get }
  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode
}

/// The command `graft`.
public enum GraftCommand {
  /// This package's version.
  public static let version = "0.1.0"

  /// Verbs in the order of the help.
  ///
  /// A new one is one file and one line here.
  static let verbs: [any Verb.Type] = [
    ImportCommand.self, TrainCommand.self, PlanCommand.self, LaunchCommand.self,
    NetworkCommand.self, GenerateCommand.self, ChatCommand.self,
    EvaluateCommand.self, ForwardCommand.self, MergeCommand.self, ExtractCommand.self,
    ResizeCommand.self, BlendCommand.self, DecomposeCommand.self, QuantizeCommand.self,
    ExportCommand.self, InspectCommand.self, TokenizeCommand.self, DataCommand.self,
    DownloadCommand.self,
  ]

  /// Runs the command.
  ///
  /// - Parameter arguments: The words behind the program's name.
  /// - Returns: The process's exit code.
  public static func run(_ arguments: [String]) -> Int32 {
    let console = Console()
    if arguments.count == 2, arguments[0] == "help" { return run([arguments[1], "--help"]) }
    guard let name = arguments.first, name != "--help", name != "-h", name != "help" else {
      console.write(help())
      return (arguments.isEmpty ? ExitCode.usage : .done).rawValue
    }
    if name == "--version" {
      console.write("graft \(version) (LibTorch \(Runtime.libTorchVersion))\n")
      return ExitCode.done.rawValue
    }
    do {
      let verb = try verb(named: name)
      let specification = verb.specification
      let parsed = try specification.parse(Array(arguments.dropFirst()))
      if parsed.wantsHelp {
        console.write(specification.help(program: "graft"))
        return ExitCode.done.rawValue
      }
      return try verb.run(parsed, console).rawValue
    } catch {
      console.log("graft: \(error)")
      return ExitCode(of: error).rawValue
    }
  }

  private static func verb(named name: String) throws -> any Verb.Type {
    for verb in verbs where verb.specification.name == name { return verb }
    let near = nearestName(name, among: verbs.map { verb in verb.specification.name })
    let hint = near.map { "; did you mean '\($0)'?" } ?? ""
    throw UsageError("unknown verb '\(name)'\(hint) (graft --help lists them)")
  }

  private static func help() -> String {
    let rows = verbs.map { verb in
      let name = verb.specification.name
      return
        "  \(name)\(String(repeating: " ", count: 12 - name.count))\(verb.specification.summary)"
    }
    return """
      Fine-tuning of Hugging Face models, without Python.

      USAGE: graft VERB [options]        graft VERB --help

      VERBS
      \(rows.joined(separator: "\n"))

      """
  }
}
