import Adapters
import Checkpoints
import CommandLineParsing
import JSONValues
import Layers
import Models
import Tensors

/// `graft forward`: numbers to compare with other programs.
enum ForwardCommand: Verb {
  static let input = Option<String>(
    "input", default: nil, help: "Safetensors file with input_ids and, where wanted, more.")
  static let output = Option<String>("output", default: nil, help: "Safetensors file to write.")
  static let gradients = Flag("gradients", help: "Write grad.<key> of every trainable tensor too.")

  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "forward", summary: "Compute logits, loss and gradients of given token ids",
    options: [input, output, gradients, json, TaskOptions.task] + ModelOptions.all)

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    try arguments.require(ModelOptions.model, input, output)
    let file = try SafetensorsFile(path: try arguments.value(input))
    let target = try arguments.value(output)
    let source = try ModelSource(arguments)
    let adapter = try arguments.adapterDirectory()
    let task = try TaskOptions.task(arguments, source.directory, adapter: adapter)
    if task == .seq2seqLM {
      let forward = try Seq2SeqForward(source, adapter: adapter, gradients: arguments[gradients])
      return try write(try forward.results(file), to: target, arguments, console)
    }
    guard task == .causalLM else {
      let forward = try TaskForward(source, task, adapter: adapter, gradients: arguments[gradients])
      return try write(try forward.results(file), to: target, arguments, console)
    }
    let (model, peft) = try source.model(adapter: adapter, trainable: arguments[gradients])
    let batch = try ForwardInput(file, model, taskCount: peft?.taskCount ?? 1)
    var results: [(name: String, tensor: Tensor)] = []
    if let labels = batch.labels {
      let count = Double(max(1, DecoderForCausalLM.targetCount(of: labels)))
      let loss = model.summedLoss(batch.input, labels: labels) / count
      if arguments[gradients], loss.requiresGradient { loss.backward() }
      results.append(("loss", loss.to(.float32)))
    } else if arguments[gradients] {
      throw UsageError("--gradients needs labels in the input file")
    }
    if arguments[gradients] {
      guard let peft else { throw UsageError("--gradients needs --adapter") }
      results += Self.gradients(of: peft)
    }
    results.append(("logits", withoutGradients { model.logits(batch.input).to(.float32) }))
    return try write(results, to: target, arguments, console)
  }

  /// Gradients of what is trained, as an adapter's file has what they belong to.
  static func gradients<Base>(of peft: PeftModel<Base>) -> [(name: String, tensor: Tensor)] {
    let transposed = peft.keysTransposedInFiles
    return peft.trainableParameters.map { key, parameter in
      let gradient = parameter.value.gradient ?? parameter.value.zerosLike()
      let filed = transposed.contains(key) ? gradient.transposed().contiguous() : gradient
      return ("grad." + key, filed.to(.float32))
    }
  }

  private static func write(
    _ results: [(name: String, tensor: Tensor)], to target: String, _ arguments: ParsedArguments,
    _ console: Console
  ) throws -> ExitCode {
    try makeParentDirectory(of: target)
    try SafetensorsWriter.save(target, tensors: results)
    if arguments[json] {
      console.write([
        "output": .string(target), "tensors": .array(results.map { .string($0.name) }),
        "loss": results.first { $0.name == "loss" }.map { .number($0.tensor.item()) } ?? .null,
      ])
    }
    return .done
  }
}

/// The tensors of an input file, checked against the model.
private struct ForwardInput {
  let input: DecoderInput
  let labels: Tensor?

  init(_ file: SafetensorsFile, _ model: DecoderForCausalLM, taskCount: Int) throws {
    func tensor(_ name: String) throws -> Tensor? {
      guard let entry = file[name] else { return nil }
      let found = try file.tensor(entry)
      guard !found.dtype.isFloatingPoint, found.dtype != .bool else {
        throw CheckpointError.mismatch(
          path: file.path, what: "type of \(name)", expected: "whole numbers (I64)",
          actual: entry.dtype.rawValue)
      }
      return found.to(.int64).to(device: model.device)
    }
    guard let ids = try tensor("input_ids") else {
      throw CheckpointError.lacks(path: file.path, what: "the tensor input_ids")
    }
    guard ids.rank == 2, ids.count > 0 else {
      throw CheckpointError.mismatch(
        path: file.path, what: "shape of input_ids", expected: "[batch, length]",
        actual: "\(ids.shape)")
    }
    func sameShape(_ name: String) throws -> Tensor? {
      guard let found = try tensor(name) else { return nil }
      guard found.shape == ids.shape || (name == "position_ids" && found.shape == [1, ids.size(1)])
      else {
        throw CheckpointError.mismatch(
          path: file.path, what: "shape of \(name)", expected: "\(ids.shape)",
          actual: "\(found.shape)")
      }
      return found
    }
    do {
      for row in 0..<ids.size(0) { try model.check(ids.selected(0, row).array(of: Int.self)) }
    } catch {
      throw ModelError.input("\(file.path): input_ids: \(error)")
    }
    labels = try sameShape("labels")
    let tasks = try tensor("task_ids")
    if let tasks { try Self.check(tasks, rows: ids.size(0), below: taskCount, file.path) }
    let vocabulary = model.configuration.vocabularySize
    if let bad = labels?.array(of: Int.self).first(where: {
      $0 != ignoredLabel && ($0 < 0 || $0 >= vocabulary)
    }) {
      throw ModelError.input(
        "\(file.path): labels: \(bad) is outside the vocabulary of \(vocabulary)"
          + " and not \(ignoredLabel)")
    }
    let mask = try sameShape("attention_mask")
    let hasPadding = mask.map { ($0 .== 0).sum().item() > 0 } ?? false
    input = DecoderInput(
      ids: ids, mask: hasPadding ? mask : nil, positions: try sameShape("position_ids"),
      taskIDs: tasks)
  }

  /// Checks the tasks of the rows, for adapters that have several.
  private static func check(
    _ tasks: Tensor, rows: Int, below count: Int, _ path: String
  ) throws {
    guard tasks.shape == [rows] else {
      throw CheckpointError.mismatch(
        path: path, what: "shape of task_ids", expected: "[\(rows)]", actual: "\(tasks.shape)")
    }
    if let bad = tasks.array(of: Int.self).first(where: { $0 < 0 || $0 >= count }) {
      throw ModelError.input("\(path): task_ids: \(bad) is not one of the adapter's \(count) tasks")
    }
  }
}
