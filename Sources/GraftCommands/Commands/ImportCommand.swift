import Adapters
import Checkpoints
import CommandLineParsing
import JSONValues

/// `graft import`.
enum ImportCommand: Verb {
  static let file = Positional(
    "FILE.gguf", help: "The file to import, or the directory of an adapter of MLX.")
  static let output = Option<String>("output", default: nil, help: "Directory to write.")
  static let dtype = Option<GGUFImporter.DType>(
    "dtype", default: .float32, help: "Type of the written weights.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "import",
    summary: "Turn a GGUF file into a Hugging Face directory, or an MLX adapter into PEFT's files",
    options: [output, dtype, ShardOptions.maximumShardSize, json], positionals: [file])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    let source = arguments.positional(file) ?? ""
    let directory = try arguments.value(output)
    if MLXAdapter.isPresent(in: source) {
      return try importAdapter(source, directory, arguments, console)
    }
    try makeParentDirectory(of: directory)
    let summary = try GGUFImporter.importModel(
      from: source, to: directory, dtype: arguments[dtype] ?? .float32,
      shardLimit: ShardOptions.limit(arguments)
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

  private static func importAdapter(
    _ source: String, _ directory: String, _ arguments: ParsedArguments, _ console: Console
  ) throws -> ExitCode {
    for name in ["dtype", "max-shard-size"] where arguments.isGiven(name) {
      throw UsageError("--\(name): the tensors of an adapter keep their type and are one file")
    }
    try RankOptions.checkFree(directory)
    let adapter = try MLXAdapter.read(source)
    try adapter.write(to: directory)
    if arguments[json] {
      console.write([
        "output": .string(directory), "layers": .integer(adapter.layers.count),
        "rank": .integer(adapter.configuration.rank),
      ])
    } else {
      console.write(
        "\(directory): \(adapter.layers.count) layers, rank \(adapter.configuration.rank)\n")
    }
    return .done
  }
}
