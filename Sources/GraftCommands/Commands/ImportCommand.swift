import Checkpoints
import CommandLineParsing
import JSONValues

/// `graft import`.
enum ImportCommand: Verb {
  static let file = Positional("FILE.gguf", help: "The file to import.")
  static let output = Option<String>("output", default: nil, help: "Directory to write.")
  static let dtype = Option<GGUFImporter.DType>(
    "dtype", default: .float32, help: "Type of the written weights.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "import", summary: "Turn a GGUF file into a Hugging Face directory",
    options: [output, dtype, json], positionals: [file])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    let source = arguments.positional(file) ?? ""
    let directory = try arguments.value(output)
    try makeParentDirectory(of: directory)
    let summary = try GGUFImporter.importModel(
      from: source, to: directory, dtype: arguments[dtype] ?? .float32
    ) { progress in
      if console.isTerminal {
        console.redraw("\(progress.completed)/\(progress.total) tensors")
      }
    }
    if console.isTerminal { console.redraw("") }
    if arguments[json] {
      console.write([
        "output": .string(directory), "architecture": .string(summary.architecture),
        "tensors": .integer(summary.tensorCount), "parameters": .integer(summary.parameterCount),
      ])
    } else {
      console.write(
        """
        \(directory): \(summary.architecture), \(summary.tensorCount) tensors, \
        \(summary.parameterCount) parameters

        """)
    }
    return .done
  }
}
