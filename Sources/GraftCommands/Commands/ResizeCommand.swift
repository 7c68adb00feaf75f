import Adapters
import CommandLineParsing
import JSONValues

/// `graft resize`.
enum ResizeCommand: Verb {
  static let adapter = Option<String>("adapter", default: nil, help: "LoRA adapter directory.")
  static let output = Option<String>("output", default: nil, help: "Adapter directory to write.")
  static let trainable = Flag(
    "trainable-rows",
    help: "Draw the new rows of A when the rank grows, so that training can use them.")
  static let seed = Option<Int>("seed", default: 0, help: "Start of those random numbers.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "resize", summary: "Change the rank of an adapter with the least loss",
    options: [
      adapter, RankOptions.rank, RankOptions.energy, output, trainable, seed, json,
      ModelOptions.threads,
    ])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    try arguments.require(adapter, output)
    let choice = try RankOptions.choice(arguments)
    try ModelSource.setThreads(arguments)
    let directory = try arguments.value(output)
    try RankOptions.checkFree(directory)
    let source = try LowRankAdapter(directory: HubNames.adapter(arguments.value(adapter)))
    let start = UInt64(bitPattern: Int64(try arguments.value(seed)))
    let (resized, losses) = try source.resized(
      to: choice, growth: arguments[trainable] ? .trainable(seed: start) : .zeros)
    try resized.write(to: directory)
    if arguments[json] {
      console.write([
        "output": .string(directory), "layers": .array(losses.map(RankOptions.json)),
        "energy_lost": .number(losses.totalLost),
      ])
      return .done
    }
    for loss in losses { console.write(RankOptions.line(loss)) }
    console.write(
      "\(directory): \(losses.count) layers, energy lost \(losses.totalLost.percent)\n")
    return .done
  }
}
