import CommandLineParsing
import Foundation
import JSONValues
import Layers
import Training

/// `graft plan`.
enum PlanCommand: Verb {
  static let processes = Option<Int>(
    "processes", default: 1, help: "Processes that are to share the run, all on this machine.")

  static let specification = CommandSpecification(
    name: "plan", summary: "Estimate memory, time and disk of a run of train",
    discussion: """
      graft plan <the options of train>

      Runs a few steps of train on the first blocks of the model, twice, with the longest rows of the \
      data, and draws the line through both to the whole model. Nothing is written into --output. The \
      weights of the whole model are not read.
      """,
    options: TrainCommand.specification.options + [processes])

  static func run(_ given: ParsedArguments, _ console: Console) throws -> ExitCode {
    let count = try given.value(processes)
    guard 1...1024 ~= count else {
      throw UsageError("--processes is \(count), expected a number in 1...1024")
    }
    guard given[TrainOptions.resume] == nil else {
      throw UsageError("--resume: graft plan estimates a run from its start")
    }
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
    if given[TrainOptions.json] { console.write(plan.json) } else { console.write(plan.text) }
    return .done
  }
}
