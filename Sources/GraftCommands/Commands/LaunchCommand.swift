import Collectives
import CommandLineParsing
import Foundation

/// `graft launch`.
enum LaunchCommand: Verb {
  static let processes = Option<Int>(
    "processes", default: nil, help: "Processes on each machine.")
  static let nodes = Option<Int>("nodes", default: 1, help: "Machines.")
  static let nodeRank = Option<Int>(
    "node-rank", default: nil, help: "Number of this machine, from 0.")
  static let rendezvous = Option<String>(
    "rendezvous", default: nil,
    help: "HOST:PORT of node 0, where all processes meet; on one machine any free port is taken.")
  static let maximumRestarts = Option<Int>(
    "max-restarts", default: 0,
    help: "How often all processes are started anew after a failure, from the last checkpoint.")
  static let threads = Option<Int>(
    "threads", default: nil,
    help: "Threads of each process; default OMP_NUM_THREADS, or cores / processes.")
  static let accelerateConfig = Option<String>(
    "accelerate-config", default: nil,
    help: "Accelerate's YAML file: processes, machines, where they meet, and options of train.")
  static let command = Positional(
    "COMMAND", count: .variadic, help: "The verb to run with its options: train ...")

  static let specification = CommandSpecification(
    name: "launch", summary: "Run train on several processes or machines",
    discussion: """
      graft launch --processes 2 -- train --model M --data F.jsonl --output DIR

      The processes share each update of the run, whose batch size stays what it is. Every one is \
      labelled with its rank; when one fails, all stop. On several machines the command is given on each \
      of them, with its --node-rank.
      """,
    options: [
      processes, nodes, nodeRank, rendezvous, maximumRestarts, threads, accelerateConfig,
    ],
    positionals: [command])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    var words = arguments.positionals(command)
    guard let verb = words.first else {
      throw UsageError("nothing to run: graft launch --processes N -- train ...")
    }
    guard [TrainCommand.specification.name, NetworkCommand.specification.name].contains(verb) else {
      throw UsageError("launch runs train and network; \(verb) runs on one process")
    }
    var arguments = arguments
    if let path = arguments[accelerateConfig] {
      try take(over: try AccelerateFile(path), &arguments)
      words += ["--accelerate-config", path]
    }
    let count = try number(arguments, processes, 1...1024)
    let machines = try number(arguments, nodes, 1...4096)
    try check(words, processes: count * machines)
    let node = machines == 1 ? arguments[nodeRank] ?? 0 : try arguments.value(nodeRank)
    guard 0..<machines ~= node else {
      throw UsageError("--node-rank is \(node), expected a number in 0...\(machines - 1)")
    }
    if let threads = arguments[threads], !(1...1024 ~= threads) {
      throw UsageError("--threads is \(threads), expected a number in 1...1024")
    }
    let restarts = try number(arguments, maximumRestarts, 0...1_000_000)
    StopSignal.endsProcess()
    if machines > 1, let place = arguments[rendezvous] {
      console.log("graft launch: node \(node) of \(machines) meets the others at \(place)")
    }
    let launcher = ProcessLauncher(
      processes: count, nodes: machines, node: node, maximumRestarts: restarts,
      threads: arguments[threads], command: words,
      store: try store(arguments, nodes: machines, node: node), console: console)
    return try launcher.run()
  }

  /// Finds wrong options here, so that they are said once and not by every rank.
  private static func check(_ words: [String], processes: Int) throws {
    guard words.first == TrainCommand.specification.name else {
      return _ = try NetworkCommand.specification.parse(Array(words.dropFirst()))
    }
    let parsed = try TrainCommand.specification.parse(Array(words.dropFirst()))
    if parsed.wantsHelp { throw UsageError("graft train --help tells the options of train") }
    if parsed[TrainOptions.deepSpeed] ?? parsed[TrainOptions.accelerateConfig] != nil {
      _ = try TrainRecipe(parsed, processCount: processes)
    }
  }

  /// Takes processes and machines from Accelerate's file.
  private static func take(
    over file: AccelerateFile, _ arguments: inout ParsedArguments
  ) throws {
    let found: [(option: String, key: String, said: Int?, value: String?)] = [
      (
        processes.name, "num_processes", file.processes,
        file.processes.map { "\($0 / file.machines)" }
      ),
      (nodes.name, "num_machines", file.machines, "\(file.machines)"),
      (
        nodeRank.name, "machine_rank", file.machineRank,
        file.machines > 1 ? "\(file.machineRank)" : nil
      ),
      (
        rendezvous.name, "main_process_ip", nil, file.machines > 1 ? file.rendezvous : nil
      ),
    ]
    let given = Dictionary(arguments.resolved().map { ($0.name, $0.value) }) { $1 }
    for (option, key, said, value) in found {
      guard let value else { continue }
      if arguments.isGiven(option), let own = given[option] ?? nil, own != value {
        throw UsageError(
          "--\(option) \(own) contradicts \(key) = \(said.map { "\($0)" } ?? value) of \(file.path)"
        )
      }
      try arguments.merge([(option, value)], source: file.path)
    }
  }

  private static func number(
    _ arguments: ParsedArguments, _ option: CommandLineParsing.Option<Int>,
    _ range: ClosedRange<Int>
  ) throws -> Int {
    let value = try arguments.value(option)
    guard range.contains(value) else {
      throw UsageError("--\(option.name) is \(value), expected a number in \(range)")
    }
    return value
  }

  /// The store of the run: opened on node 0, connected to on others.
  private static func store(
    _ arguments: ParsedArguments, nodes: Int, node: Int
  ) throws -> RendezvousStore {
    guard let place = arguments[rendezvous] else {
      guard nodes == 1 else { throw UsageError("missing required --rendezvous HOST:PORT") }
      return try RendezvousStore(host: "127.0.0.1", port: 0, opens: true)
    }
    guard let colon = place.lastIndex(of: ":"), let port = Int(place[place.index(after: colon)...]),
      1...65535 ~= port, colon != place.startIndex
    else {
      throw UsageError("--rendezvous \(place): expected HOST:PORT with a port in 1...65535")
    }
    let host = place[..<colon].trimmingCharacters(in: ["[", "]"])
    return try RendezvousStore(host: host, port: port, opens: node == 0)
  }
}
