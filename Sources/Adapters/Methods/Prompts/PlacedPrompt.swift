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
  /// Stands for the encoder where a file had only what it gives.
  private(set) var fixed: Parameter?

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

  /// Takes over what PEFT's file holds.
  func take(_ embeddings: Tensor) {
    guard let encoder = encoder as? any DerivedPromptEncoder else { return }
    fixed = encoder.take(embeddings) ? nil : Parameter(embeddings)
  }

  /// Whether a file beside PEFT's holds the encoder.
  var hasCompanion: Bool {
    fixed == nil && (encoder as? any DerivedPromptEncoder)?.needsCompanion == true
  }

  /// Begins with the encoder again, whose parameters another file gave.
  func release() { fixed = nil }
}
