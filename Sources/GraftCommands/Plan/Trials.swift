import CommandLineParsing
import Foundation
import JSONValues
import Layers
import Models
import Tensors
import Training

/// The trials of a plan, and what follows from them.
struct Trials {
  let recipe: TrainRecipe
  let options: TrainingOptions
  let model: ShortModel
  let processes: Int
  /// A directory of their own.
  let directory: String
  let log: (String) -> Void

  func plan() throws -> RunPlan {
    // A second micro-batch shows what is held between them; more are the same again.
    let batches = min(options.gradientAccumulation, max(2, processes))
    let path = try recipe.arguments.value(TrainOptions.data)
    let data = try TrialData(
      path, rows: options.batchSize * batches, to: directory + "/rows.jsonl")
    let depths = Self.depths(model.depth)
    let runs = try depths.map { blocks in
      log("trial of \(blocks) of \(model.depth) blocks")
      return (blocks, try run(blocks, batches: batches, data))
    }
    let line = TrialLine(short: runs[0], long: runs[runs.count - 1])
    func full(_ figure: KeyPath<TrialRun, Double>) -> Double { line.at(model.depth, figure) }
    let steps = steps(data.rowCount)
    return RunPlan(
      parts: try parts(line, depths), peak: full(\.peak),
      secondsPerStep: full(\.seconds) * Double(options.gradientAccumulation) / Double(batches),
      steps: steps, checkpoint: full(\.checkpoint), checkpoints: checkpoints(steps),
      result: full(\.result), processes: processes, depth: model.depth, trialDepths: depths,
      gradientBytes: full(\.trained))
  }

  /// Updates of a trial: what the allocator holds grows over the first ones.
  private static let steps = 10

  /// Depths whose difference is large beside what differs from run to run.
  private static func depths(_ depth: Int) -> [Int] {
    guard depth > 3 else { return [depth] }
    let short = max(1, depth / 8)
    return [short, max(short + 2, depth * 2 / 5)]
  }

  private func modelDirectory(_ blocks: Int) -> String { "\(directory)/model-\(blocks)" }

  private func run(_ blocks: Int, batches: Int, _ data: TrialData) throws -> TrialRun {
    let (short, output) = (modelDirectory(blocks), "\(directory)/run-\(blocks)")
    try model.write(blocks: blocks, to: short)
    var own = recipe.json.objectValue ?? JSONObject()
    let rows =
      options.packs ? try recipe.arguments.value(TrainOptions.data) : directory + "/rows.jsonl"
    // Every row is seen before the recorded step.
    let updates = (data.trialRows + options.batchSize * batches - 1) / (options.batchSize * batches)
    let changes: [(String, String)] = [
      ("model", short), ("data", rows), ("output", output),
      ("max-steps", "\(max(Self.steps, min(updates + 2, 2 * Self.steps)))"), ("log-every", "1"),
      ("save-every", "2"),
      ("keep", "1"), ("report-to", "none"), ("gradient-accumulation", "\(batches)"),
    ]
    for (name, value) in changes { own[name] = .string(value) }
    if let threads = recipe.arguments[ModelOptions.threads] {
      own["threads"] = .string("\(threads)")
    }
    if !(own["eval-data"]?.isNull ?? true) {
      own["eval-data"] = .string(directory + "/rows.jsonl")
      own["eval-every"] = "2"
    }
    return try TrialRun(own, processes: processes, output: output)
  }

  /// Updates of the run, where rows are not packed.
  private func steps(_ rowCount: Int) -> Int? {
    if let steps = options.maximumSteps { return steps }
    guard !options.packs else { return nil }
    let batches = (rowCount + options.batchSize - 1) / options.batchSize
    let updates = (batches + options.gradientAccumulation - 1) / options.gradientAccumulation
    return max(1, Int((options.epochs * Double(updates)).rounded(.up)))
  }

  /// Checkpoints on the disk at one time: those that are kept, and one that is being written.
  private func checkpoints(_ steps: Int?) -> Int {
    guard let steps else { return options.keptCheckpoints + 1 }
    let written =
      options.saveEvery.map { (steps + $0 - 1) / $0 } ?? Int(options.epochs.rounded(.up))
    return min(options.keptCheckpoints + 1, max(1, written))
  }

  /// Memory by part; what none of them explains is the last one.
  private func parts(_ line: TrialLine, _ depths: [Int]) throws -> [RunPlan.Part] {
    func full(_ figure: KeyPath<TrialRun, Double>) -> Double { line.at(model.depth, figure) }
    let shares = Double(processes)
    let isFull = TrainCommand.isFull(recipe.arguments)
    let isShared = options.zeroStage == 3
    let trained = full(\.trained) / (isShared ? shares : 1)
    let state = options.zeroStage > 0 ? full(\.state) / shares : full(\.state)
    let gradients = options.zeroStage == 2 ? trained / shares : trained
    var parts: [RunPlan.Part] = []
    if !isFull { parts.append(try base(depths, shares: isShared ? shares : 1)) }
    parts += [
      .init(name: "trained weights", bytes: trained), .init(name: "gradients", bytes: gradients),
      .init(name: "optimiser's state", bytes: state),
    ]
    // Gradients and, in the first update, the state are made in an update; the recorded one found the
    // state there.
    let step = max(0, full(\.held) - gradients)
    parts.append(.init(name: "activations and scratch", bytes: step))
    let known = parts.reduce(0) { $0 + $1.bytes }
    parts.append(
      .init(
        name: "libraries, tokenizer, data and the rest",
        bytes: max(0, full(\.peak) - known)))
    return parts
  }

  /// The frozen base, as it is kept.
  ///
  /// - Parameters:
  ///   - blocks: The trials' depths.
  ///   - shares: Processes that share the blocks out.
  /// - Returns: The part.
  /// - Throws: What opening the trials' models throws.
  private func base(_ blocks: [Int], shares: Double) throws -> RunPlan.Part {
    let precision = (recipe.arguments[ModelOptions.precision] ?? .float32).dtype
    let format = recipe.arguments[ModelOptions.quantize] ?? BaseFormat.none
    let task = try recipe.arguments[TrainOptions.task] ?? AutoModel.task(of: model.directory)
    guard task == .causalLM else {
      let name = "base, " + (isMapped(precision) ? "mapped from its file" : "as \(precision)")
      return .init(name: name, bytes: Double(model.elementCount * precision.byteCount))
    }
    let sizes = try blocks.map { count in
      let short = modelDirectory(count)
      return Double(
        try BaseSize.bytes(
          short, precision, try ModelOptions.quantization(recipe.arguments, of: short)))
    }
    let kind =
      format != .none
      ? "in \(format.rawValue)" : isMapped(precision) ? "mapped from its file" : "as \(precision)"
    func at(_ depth: Int) -> Double {
      TrialLine.at(depth, (blocks[0], sizes[0]), (blocks.last ?? 0, sizes.last ?? 0))
    }
    guard shares > 1 else { return .init(name: "base, " + kind, bytes: at(model.depth)) }
    return .init(name: "base, \(kind), shared out", bytes: at(model.depth) / shares)
  }

  /// Whether the weights are used where they lie in their file.
  private func isMapped(_ precision: DType) -> Bool {
    let types: [DType: String] = [.float32: "F32", .float16: "F16", .bfloat16: "BF16"]
    return model.storedBytes.map(\.type) == [types[precision] ?? ""]
  }
}
