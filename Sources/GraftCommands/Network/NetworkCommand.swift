import Checkpoints
import Collectives
import CommandLineParsing
import Foundation
import JSONValues
import Tensors

/// `graft network`, one of the processes of a launch.
enum NetworkCommand: Verb {
  static let output = Option<String>(
    "output", default: nil, help: "JSON file to write, for graft plan --network.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "network", summary: "Measure sums of numbers over the processes of a launch",
    discussion: """
      graft launch --processes 2 -- network --output network.json
      graft launch --processes 1 --nodes 4 --node-rank R --rendezvous HOST:PORT -- network --output F

      Times all-reduces of several sizes as training does them, and fits a latency and a bandwidth, with \
      which graft plan --nodes --network predicts other numbers of machines.
      """,
    options: [output, json])

  /// Elements of float32, and how often each is measured.
  static let sizes: [(count: Int, repeats: Int)] = [
    (1 << 10, 30), (1 << 14, 30), (1 << 17, 20), (1 << 19, 12), (1 << 21, 8), (1 << 23, 5),
  ]

  static func run(_ given: ParsedArguments, _ console: Console) throws -> ExitCode {
    guard let world = try World.detect(ProcessInfo.processInfo.environment) else {
      throw UsageError("there is one process: graft launch --processes N -- network")
    }
    let group = TrainingProcesses.joined(world, console)
    do {
      let samples = try measure(group)
      try group.leave()
      guard world.rank == 0 else { return .done }
      let found = NetworkFigures(samples)
      if let path = given[output] {
        try AtomicFile.write(path: path, text: found.json.serialized(indent: 2) + "\n")
      }
      if given[json] { console.write(found.json) } else { console.write(found.text) }
      return .done
    } catch {
      group.abandon(because: error)
      console.log("graft: \(error)")
      fflush(nil)
      _exit(ExitCode(of: error).rawValue)
    }
  }

  private static func measure(_ group: ProcessGroup) throws -> [AllReduceCost.Sample] {
    try sizes.map { count, repeats in
      let numbers = Tensor.zeros([count], dtype: .float32)
      var times: [Double] = []
      for attempt in 0..<repeats + 2 {
        let begin = ContinuousClock.now
        try group.allReduce(numbers, .sum, "\(count) numbers, \(attempt)")
        let time = ContinuousClock.now - begin
        // The first ones open connections and touch memory.
        if attempt > 1 { times.append(time / .seconds(1)) }
      }
      return AllReduceCost.Sample(
        processes: group.size, bytes: 4 * count, seconds: times.sorted()[repeats / 2])
    }
  }
}
