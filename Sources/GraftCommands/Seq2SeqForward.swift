import Adapters
import Checkpoints
import CommandLineParsing
import Layers
import Models
import Tensors

/// What `graft forward` computes with a model that turns a text into another.
struct Seq2SeqForward {
  typealias Model = EncoderDecoderForConditionalGeneration

  let model: Model
  let peft: PeftModel<Model>?
  let gradients: Bool

  init(_ source: ModelSource, adapter: String?, gradients: Bool) throws {
    (model, peft) = try source.seq2seqModel(adapter: adapter, trainable: gradients)
    self.gradients = gradients
  }

  func results(_ file: SafetensorsFile) throws -> [(name: String, tensor: Tensor)] {
    let (input, labels) = try batch(file)
    var results: [(name: String, tensor: Tensor)] = []
    if let labels {
      let loss = model.loss(input, labels: labels)
      if gradients, loss.requiresGradient { loss.backward() }
      results.append(("loss", loss.to(.float32)))
    } else if gradients {
      throw UsageError("--gradients needs labels in the input file")
    }
    if gradients {
      guard let peft else { throw UsageError("--gradients needs --adapter") }
      results += ForwardCommand.gradients(of: peft)
    }
    return results + [("logits", withoutGradients { model(input).to(.float32) })]
  }

  /// The tensors of an input file, checked against the model; the decoder's ids follow from labels
  /// where the file has none.
  private func batch(_ file: SafetensorsFile) throws -> (Seq2SeqInput, labels: Tensor?) {
    let tensors = InputTensors(file: file, device: model.device)
    guard let ids = try tensors.rows("input_ids", check: model.check) else {
      throw CheckpointError.lacks(path: file.path, what: "the tensor input_ids")
    }
    let rows = ids.size(0)
    let labels = try labels(tensors)
    guard
      let decoderIDs = try tensors.rows("decoder_input_ids", check: model.check)
        ?? labels.map(model.shiftedRight)
    else {
      throw CheckpointError.lacks(
        path: file.path, what: "decoder_input_ids or labels, one of which the decoder needs")
    }
    for (name, found) in [("decoder_input_ids", decoderIDs), ("labels", labels ?? decoderIDs)]
    where found.shape != [rows, decoderIDs.size(1)] {
      throw tensors.wrong("shape of \(name)", "[\(rows), \(decoderIDs.size(1))]", "\(found.shape)")
    }
    let tasks = try tensors.whole("task_ids", shape: [rows])
    if let tasks {
      let count = peft?.taskCount ?? 1
      if let bad = tasks.array(of: Int.self).first(where: { $0 < 0 || $0 >= count }) {
        throw ModelError.input(
          "\(file.path): task_ids: \(bad) is not one of the adapter's \(count) tasks")
      }
    }
    return (
      Seq2SeqInput(
        ids: ids, mask: try tensors.mask("attention_mask", shape: ids.shape),
        decoderIDs: decoderIDs,
        decoderMask: try tensors.mask("decoder_attention_mask", shape: decoderIDs.shape),
        taskIDs: tasks), labels
    )
  }

  private func labels(_ tensors: InputTensors) throws -> Tensor? {
    let count = model.configuration.vocabularySize
    return try tensors.rows("labels") { row in
      if let bad = row.first(where: { $0 != ignoredLabel && ($0 < 0 || $0 >= count) }) {
        throw ModelError.input(
          "\(bad) is outside the vocabulary of \(count) and not \(ignoredLabel)")
      }
      if let limit = model.configuration.maximumLength, row.count > limit {
        throw ModelError.input("\(row.count) are more than the model's limit of \(limit)")
      }
    }
  }
}

extension ModelSource {
  /// The model that turns a text into another, with the adapter, if any.
  ///
  /// - Parameters:
  ///   - adapter: The adapter's directory, or nil.
  ///   - trainable: Whether training goes on.
  /// - Returns: The model, alone and with its adapter.
  /// - Throws: What opening either throws.
  func seq2seqModel(
    adapter: String?, trainable: Bool = false
  ) throws -> (
    EncoderDecoderForConditionalGeneration, PeftModel<EncoderDecoderForConditionalGeneration>?
  ) {
    let base = try AutoModelForSeq2SeqLM.fromPretrained(
      directory, dtype: dtype, device: device, quantization: quantization)
    return (base, try adapter.map { try PeftModel.fromPretrained(base, $0, trainable: trainable) })
  }
}
