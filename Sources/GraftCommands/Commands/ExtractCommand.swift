import Adapters
import Checkpoints
import CommandLineParsing
import Foundation
import JSONValues
import Models

/// Options that choose ranks, the same for `extract` and `resize`.
enum RankOptions {
  static let rank = Option<Int>("rank", default: nil, help: "Rank of every layer.")
  static let energy = Option<Double>(
    "energy", default: nil,
    help: "Instead: each layer's least rank that keeps this share of its squared norm.")

  static func choice(_ arguments: ParsedArguments) throws -> RankChoice {
    let choice: RankChoice
    switch (arguments[rank], arguments[energy]) {
    case (let rank?, nil): choice = .rank(rank)
    case (nil, let share?): choice = .energy(share)
    case (nil, nil): throw UsageError("give --rank INTEGER or --energy NUMBER")
    default: throw UsageError("--rank and --energy both say how large the result is; give one")
    }
    do {
      try choice.validate()
    } catch {
      throw UsageError("--\(error)")
    }
    return choice
  }

  /// Refuses a directory that cannot be written before anything is computed.
  static func checkFree(_ directory: String) throws {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory) else {
      return
    }
    let names = try? FileManager.default.contentsOfDirectory(atPath: directory)
    guard isDirectory.boolValue, names?.isEmpty == true else {
      throw CheckpointError.alreadyExists(path: directory)
    }
  }

  /// A layer's row of the output.
  static func json(_ loss: LayerLoss) -> JSON {
    [
      "path": .string(loss.path), "rank_before": .integer(loss.rankBefore),
      "rank": .integer(loss.rank), "energy": .number(loss.energy),
      "energy_lost": .number(loss.lost),
      "relative_norm": loss.relativeNorm.map(JSON.number) ?? .null,
    ]
  }

  /// The same as text.
  static func line(_ loss: LayerLoss) -> String {
    let norm = loss.relativeNorm.map { ", norm \($0.percent) of the base's" } ?? ""
    return "  \(loss.path): rank \(loss.rank) of \(loss.rankBefore)\(norm), "
      + "energy lost \(loss.lost.percent)\n"
  }
}

extension Double {
  /// As a percentage with three digits that count.
  var percent: String {
    self == 0 ? "0 %" : String(format: abs(self) < 1e-4 ? "%.1e %%" : "%.3g %%", 100 * self)
  }
}

/// `graft extract`.
enum ExtractCommand: Verb {
  static let base = Option<String>(
    "base", default: nil, help: "The model before training: directory, GGUF file or hub name.")
  static let tuned = Option<String>(
    "tuned", default: nil, help: "The model after training of all its weights.")
  static let output = Option<String>("output", default: nil, help: "Adapter directory to write.")
  static let algorithm = Option<ExtractionOptions.Algorithm>(
    "svd", default: .automatic,
    help: "How singular values are found: randomized for large layers, by default.")
  static let targets = Option<String>(
    "target-modules", default: nil,
    help: "all-linear, names with commas, or an expression; default every layer that changed.")
  static let keepOthers = Flag(
    "keep-other-parameters",
    help: "Keep changed norms and embeddings whole (modules_to_save), and changed biases.")
  static let seed = Option<Int>("seed", default: 0, help: "Start of random numbers.")
  static let quiet = Flag("quiet", help: "No progress.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "extract", summary: "Make the best low-rank adapter of a full fine-tune",
    options: [
      base, tuned, RankOptions.rank, RankOptions.energy, output, algorithm, targets, keepOthers,
      seed, quiet, json, ModelOptions.threads,
    ])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    try arguments.require(base, tuned, output)
    var options = ExtractionOptions()
    options.choice = try RankOptions.choice(arguments)
    options.algorithm = try arguments.value(algorithm)
    if case .energy = options.choice, options.algorithm == .randomized {
      throw UsageError("--svd randomized needs --rank: a share of the energy needs all values")
    }
    options.targets = arguments[targets].map { TargetModules($0) }
    options.keepsOtherParameters = arguments[keepOthers]
    options.seed = UInt64(bitPattern: Int64(try arguments.value(seed)))
    try ModelSource.setThreads(arguments)
    let directory = try arguments.value(output)
    try RankOptions.checkFree(directory)
    let name = try arguments.value(base)
    options.baseModel = HubNames.hubName(name)?.name ?? name
    let before = try open(name)
    let after = try open(try arguments.value(tuned))
    let showsProgress = console.isTerminal && !arguments[quiet]
    let (model, report) = try PeftModel.extracting(after, base: before, options: options) {
      layer, count in
      if showsProgress { console.redraw("\(layer)/\(count) layers") }
    }
    if showsProgress { console.redraw("") }
    try makeParentDirectory(of: directory)
    let target = try AtomicDirectory(path: directory)
    try model.savePretrained(target.temporaryPath)
    try target.commit()
    write(report, directory, arguments[json], console)
    return .done
  }

  private static func open(_ name: String) throws -> DecoderForCausalLM {
    try AutoModelForCausalLM.fromPretrained(ModelSource.directory(of: name), dtype: nil)
  }

  private static func write(
    _ report: ExtractionReport, _ directory: String, _ asJSON: Bool, _ console: Console
  ) {
    if asJSON {
      console.write([
        "output": .string(directory), "layers": .array(report.layers.map(RankOptions.json)),
        "energy_lost": .number(report.layers.totalLost),
        "unchanged": .array(report.unchanged.map(JSON.string)),
        "other_parameters": .array(
          report.others.map {
            ["path": .string($0.path), "relative_norm": .number($0.relativeNorm)]
          }), "keeps_other_parameters": .bool(report.keepsOthers),
      ])
      return
    }
    for layer in report.layers { console.write(RankOptions.line(layer)) }
    if !report.unchanged.isEmpty {
      console.write("  unchanged: \(report.unchanged.count) layers\n")
    }
    for (path, norm) in report.others {
      console.write(
        "  \(path): no linear weight, changed by \(norm.percent), "
          + (report.keepsOthers ? "kept whole\n" : "not in the adapter\n"))
    }
    if !report.others.isEmpty, !report.keepsOthers {
      console.write("  --keep-other-parameters puts those into the adapter too\n")
    }
    console.write(
      "\(directory): \(report.layers.count) layers, "
        + "energy lost \(report.layers.totalLost.percent)\n")
  }
}
