import Checkpoints
import Foundation
import Layers
import Models
import Tensors

/// The virtual tokens of one adapter in a model.
final class PlacedPrompt {
  let encoder: any PromptEncoder
  let kind: ModelPrompt.Kind
  /// Virtual tokens.
  let length: Int
  private let shape: PromptShape
  private let context: AdapterContext
  /// Stands for the encoder where a file has only what it gives: `[n, size]`.
  var fixed: Parameter?

  init(
    _ encoder: any PromptEncoder, kind: ModelPrompt.Kind, length: Int, shape: PromptShape,
    context: AdapterContext
  ) {
    self.encoder = encoder
    self.kind = kind
    self.length = length
    self.shape = shape
    self.context = context
  }

  var modelPrompt: ModelPrompt {
    ModelPrompt(kind, length: length, targets: encoder.targets) { self.numbers(rows: $0) }
  }

  /// Tensors in memory, by the keys of files.
  var parameters: [AdapterParameter] {
    fixed.map { [AdapterParameter(promptKey, $0, isTrained: false)] } ?? encoder.parameters
  }

  private func numbers(rows: Int) -> Tensor {
    let made = fixed?.value ?? encoder.prompt(rows: rows, context)
    guard kind == .keysAndValues else { return made }
    // As PEFT lays it out: tokens, then for each layer keys and values, then heads.
    return made.reshaped([
      length, shape.layerCount, 2, shape.keyValueHeadCount, shape.headSize,
    ]).permuted([1, 2, 3, 0, 4])
  }

  /// What PEFT's file holds where it does not hold the parameters: `[n, size]`; else nil.
  var derived: Tensor? {
    guard fixed == nil, encoder is any DerivedPromptEncoder else { return nil }
    return withoutGradients {
      // Without dropout, also in the midst of training.
      let before = context.isTraining
      context.isTraining = false
      defer { context.isTraining = before }
      return encoder.prompt(rows: 1, context).detached()
    }
  }

  /// A place for what PEFT's file holds where it does not hold the parameters; else nil.
  var place: Parameter? {
    guard let own = (encoder as? any DerivedPromptEncoder)?.parameters.first?.parameter.value else {
      return nil
    }
    let shape =
      kind == .embeddings
      ? [length * shape.submoduleCount, shape.hiddenSize]
      : [length, shape.layerCount * 2 * shape.keyValueHeadCount * shape.headSize]
    return Parameter(.empty(shape, dtype: own.dtype, device: .meta))
  }

  /// Lets the encoder take over what stands for it, where it can.
  func takeFixed() {
    guard let fixed, let encoder = encoder as? any DerivedPromptEncoder else { return }
    if encoder.take(fixed.value) { self.fixed = nil }
  }

  /// Whether a file beside PEFT's holds the encoder.
  var hasCompanion: Bool {
    fixed == nil && (encoder as? any DerivedPromptEncoder)?.needsCompanion == true
  }
}

/// Files of virtual tokens have what the encoder gives, where PEFT saves only that.
final class PromptStorage: AdapterStorage {
  private let prompt: PlacedPrompt

  init(_ prompt: PlacedPrompt) { self.prompt = prompt }

  func stored(_ tensors: [(key: String, tensor: Tensor)]) -> [(key: String, tensor: Tensor)] {
    guard let derived = prompt.derived else { return tensors }
    let own = Set(prompt.encoder.parameters.map(\.name))
    return [(promptKey, derived)] + tensors.filter { !own.contains($0.key) }
  }

  func restored(
    _ tensors: [String: Tensor], _ configuration: any AdapterConfiguration
  ) throws(AdapterError) -> [String: Tensor] { tensors }

  /// Writes what makes virtual tokens beside PEFT's file, or removes an earlier one.
  func save(in directory: String) throws {
    let path = directory + "/" + companionName
    guard prompt.hasCompanion else {
      if FileManager.default.fileExists(atPath: path) {
        try FileManager.default.removeItem(atPath: path)
      }
      return
    }
    try SafetensorsWriter.save(
      path, tensors: prompt.encoder.parameters.map { ($0.name, $0.parameter.value) })
  }
}
