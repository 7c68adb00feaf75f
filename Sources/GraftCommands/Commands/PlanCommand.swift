import CommandLineParsing
import Foundation
import JSONValues
import Layers
import Training

/// `graft plan`.
enum PlanCommand: Verb {
  static let processes = Option<Int>(
    "processes", default: 1, help: "Processes that are to share the run, on each machine.")
  static let nodes = Option<String>(
    "nodes", default: nil,
    help: "Numbers of machines to predict the time of an update for, with commas: 2,16,1024.")
  static let network = Option<String>(
    "network", default: nil,
    help:
      "Files of graft network, with commas; default: measured between processes of this machine.")

  static let specification = CommandSpecification(
    name: "plan", summary: "Estimate memory, time and disk of a run of train",
    discussion: """
      graft plan <the options of train>

      Runs a few steps of train on the first blocks of the model, twice, with the longest rows of the \
      data, and draws the line through both to the whole model. Nothing is written into --output. The \
      weights of the whole model are not read.
      """,
    options: TrainCommand.specification.options + [processes, nodes, network])

  static func run(_ given: ParsedArguments, _ console: Console) throws -> ExitCode {
    let count = try given.value(processes)
    guard 1...1024 ~= count else {
      throw UsageError("--processes is \(count), expected a number in 1...1024")
    }
    guard given[TrainOptions.resume] == nil else {
      throw UsageError("--resume: graft plan estimates a run from its start")
    }
    let machines = try numbers(given[nodes])
    if given[network] != nil, machines.isEmpty { throw UsageError("--network: needs --nodes") }
    var given = given
    // Train needs one; nothing is written there.
    if given[TrainOptions.output] == nil {
      try given.merge([("output", "output")], source: "graft plan")
    }
    let recipe = try TrainRecipe(given, processCount: count)
    for table in recipe.fileTables where !given[TrainOptions.quiet] { console.log(table) }
    let options = try TrainOptions.training(recipe.arguments)
    let model = try ModelSource.directory(
      of: try recipe.arguments.value(ModelOptions.model), isQuiet: given[TrainOptions.quiet])
    let directory = NSTemporaryDirectory() + "graft-plan-\(UUID().uuidString)"
    try FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let plan = try Trials(
      recipe: recipe, options: options, model: try ShortModel(model), processes: count,
      directory: directory
    ) { if !given[TrainOptions.quiet] { console.log($0) } }.plan()
    let cluster =
      machines.isEmpty
      ? nil
      : try ClusterPlan(
        nodes: machines, processes: count, seconds: plan.secondsPerStep,
        updateRows: options.batchSize * options.gradientAccumulation,
        gradientBytes: Int(plan.gradientBytes),
        network: try NetworkTrials.figures(given[network], directory: directory),
        origin: given[network] ?? "between processes of this machine")
    if given[TrainOptions.json] {
      var fields = plan.json.objectValue ?? JSONObject()
      if let cluster { fields["cluster"] = cluster.json }
      console.write(.object(fields))
    } else {
      console.write(plan.text + (cluster?.text(secondsOfOne: plan.secondsPerStep) ?? ""))
    }
    return .done
  }

  private static func numbers(_ text: String?) throws -> [Int] {
    guard let text else { return [] }
    return try text.split(separator: ",", omittingEmptySubsequences: false).map { word in
      guard let count = Int(word), 1...4096 ~= count else {
        throw UsageError("--nodes \(text): expected numbers in 1...4096 with commas")
      }
      return count
    }
  }
}
