import Adapters
import Checkpoints
import CommandLineParsing
import Layers
import Models
import Tensors

/// What `graft forward` computes with a model that has the head of a task, or none.
struct TaskForward {
  let model: TaskModel
  let peft: PeftModel<TaskModel>?
  let gradients: Bool

  init(
    _ source: ModelSource, _ task: ModelTask, adapter: String?, gradients: Bool
  ) throws {
    (model, peft) = try source.model(for: task, adapter: adapter, trainable: gradients)
    self.gradients = gradients
  }

  func results(_ file: SafetensorsFile) throws -> [(name: String, tensor: Tensor)] {
    let input = TaskTensors(file, model)
    let batch = try input.batch()
    let labels = try input.labels(rows: batch.ids.size(0), length: batch.ids.size(1))
    var results: [(name: String, tensor: Tensor)] = []
    if let labels {
      let loss = model.loss(batch, labels: labels)
      if gradients, loss.requiresGradient { loss.backward() }
      results.append(("loss", loss.to(.float32)))
    } else if gradients {
      throw UsageError("--gradients needs labels in the input file")
    }
    if gradients {
      guard let peft else { throw UsageError("--gradients needs --adapter") }
      results += ForwardCommand.gradients(of: peft)
    }
    return results + withoutGradients { outputs(batch) }
  }

  private func outputs(_ batch: TaskInput) -> [(name: String, tensor: Tensor)] {
    let found = model(batch).to(.float32)
    switch model.task {
    case .featureExtraction:
      let pooled = model.poolerOutput(batch).map { [("pooler_output", $0.to(.float32))] } ?? []
      return [
        ("last_hidden_state", found),
        ("embedding.mean", model.embeddings(batch, pooling: .mean).to(.float32)),
        ("embedding.cls", model.embeddings(batch, pooling: .first).to(.float32)),
      ] + pooled
    case .questionAnswering:
      return [
        ("start_logits", found.selected(-1, 0).contiguous()),
        ("end_logits", found.selected(-1, 1).contiguous()), ("logits", found),
      ]
    default: return [("logits", found)]
    }
  }
}

/// The tensors of an input file, checked against the model.
private struct TaskTensors {
  let file: SafetensorsFile
  let model: TaskModel

  init(_ file: SafetensorsFile, _ model: TaskModel) { (self.file, self.model) = (file, model) }

  private var tensors: InputTensors { InputTensors(file: file, device: model.device) }

  func batch() throws -> TaskInput {
    guard let ids = try tensors.rows("input_ids", check: model.check) else {
      throw CheckpointError.lacks(path: file.path, what: "the tensor input_ids")
    }
    let types = try whole("token_type_ids", shape: ids.shape)
    if let types {
      try check(types, "token_type_ids", below: max(1, model.tokenTypeCount), "segments")
    }
    let positions = try whole("position_ids")
    if let positions {
      guard positions.shape == ids.shape || positions.shape == [1, ids.size(1)] else {
        throw wrong("shape of position_ids", "\(ids.shape)", "\(positions.shape)")
      }
      // RoBERTa's begin behind the padding's id.
      try check(positions, "position_ids", below: model.positionCount, "positions")
    }
    var input = TaskInput(
      ids: ids, mask: try tensors.mask("attention_mask", shape: ids.shape),
      tokenTypes: model.tokenTypeCount > 0 ? types : nil, positions: positions)
    if model.readsWithDecoder {
      guard positions == nil else {
        throw UsageError("\(file.path): position_ids: a model with encoder and decoder has none")
      }
      input.decoderIDs = try whole("decoder_input_ids", shape: ids.shape)
      if let own = input.decoderIDs {
        try check(own, "decoder_input_ids", below: model.vocabularySize, "tokens")
      }
      input.decoderMask = try tensors.mask("decoder_attention_mask", shape: ids.shape)
    } else if file["decoder_input_ids"] != nil {
      throw UsageError(
        "\(file.path): decoder_input_ids: --task \(model.task.rawValue) reads with no decoder")
    }
    return input
  }

  func labels(rows: Int, length: Int) throws -> TaskLabels? {
    switch model.task {
    case .questionAnswering:
      guard let start = try whole("start_positions", shape: [rows]),
        let end = try whole("end_positions", shape: [rows])
      else { return nil }
      return .answers(start: start, end: end)
    case .featureExtraction:
      guard file["labels"] == nil else {
        throw UsageError("\(file.path): labels: --task feature-extraction has no loss")
      }
      return nil
    case .sequenceClassification:
      guard let entry = file["labels"] else { return nil }
      let found = try file.tensor(entry).to(device: model.device)
      let count = model.labels?.names.count ?? 1
      guard found.dtype.isFloatingPoint else {
        let classes = try checked(try whole("labels", shape: [rows]), below: count)
        return classes.map { .classes($0) }
      }
      guard found.shape == [rows, count] || count == 1 && found.shape == [rows] else {
        throw wrong("shape of labels", "[\(rows), \(count)]", "\(found.shape)")
      }
      return .values(found)
    default:
      let count = model.labels?.names.count ?? model.vocabularySize
      return try checked(try whole("labels", shape: [rows, length]), below: count)
        .map { .classes($0) }
    }
  }

  private func checked(_ labels: Tensor?, below count: Int) throws -> Tensor? {
    // One output is a number, which may be any.
    let isNumber = count == 1 && model.task == .sequenceClassification
    if let bad = labels?.array(of: Int.self).first(where: {
      $0 != ignoredLabel && !isNumber && ($0 < 0 || $0 >= count)
    }) {
      throw ModelError.input(
        "\(file.path): labels: \(bad) is not one of \(count) classes and not \(ignoredLabel)")
    }
    return labels
  }

  private func check(
    _ tensor: Tensor, _ name: String, below count: Int, _ what: String
  ) throws {
    if let bad = tensor.array(of: Int.self).first(where: { $0 < 0 || $0 >= count }) {
      throw ModelError.input(
        "\(file.path): \(name): \(bad) is not one of the model's \(count) \(what)")
    }
  }

  private func whole(_ name: String, shape: [Int]? = nil) throws -> Tensor? {
    try tensors.whole(name, shape: shape)
  }

  private func wrong(_ what: String, _ expected: String, _ actual: String) -> CheckpointError {
    tensors.wrong(what, expected, actual)
  }
}
