import Layers
import Models
import Tensors

/// Where a prompt's parameters go, and what their first numbers come from.
struct PromptSite: ParameterSource {
  let model: any PromptableModel
  let generator: Generator
  let dtype: DType
  let device: Device
  /// Whether a file's numbers follow, so that no first ones have to be found.
  let isLoading: Bool

  init(
    _ model: any PromptableModel, generator: Generator, isLoading: Bool, dtype wanted: DType?
  ) {
    self.model = model
    self.generator = generator
    self.isLoading = isLoading
    let row = withoutGradients {
      model.tokenEmbeddings(Tensor([0], shape: [1]).to(device: model.device))
    }
    dtype = wanted ?? .computing(row.dtype)
    device = row.device
  }

  /// The model's own embeddings of tokens, as the first numbers of a parameter.
  ///
  /// - Throws: ``AdapterError`` for an id outside the vocabulary.
  func embeddings(of ids: [Int], field: String) throws(AdapterError) -> Parameter {
    let vocabulary = model.promptShape.vocabularySize
    if let bad = ids.first(where: { $0 < 0 || $0 >= vocabulary }) {
      throw .configuration(
        field: field, expected: "token ids below \(vocabulary), the model's vocabulary",
        actual: "\(bad)")
    }
    return Parameter(
      withoutGradients {
        model.tokenEmbeddings(Tensor(ids, shape: [ids.count]).to(device: device)).detached()
          .to(dtype).cloned()
      })
  }

  /// Weight and bias of a new linear layer, as torch begins them.
  func linear(_ input: Int, _ output: Int, _ name: String) -> PromptLinear {
    let bound = 1 / Double(input).squareRoot()
    return PromptLinear(
      name: name, weight: uniform([output, input], bound: bound),
      bias: uniform([output], bound: bound))
  }
}

extension Module {
  fileprivate var device: Device { parameters().first?.parameter.value.device ?? .cpu }
}

/// A linear layer of an encoder.
struct PromptLinear {
  let name: String
  let weight: Parameter  // [out, in]
  let bias: Parameter  // [out]

  var parameters: [AdapterParameter] {
    [AdapterParameter(name + ".weight", weight), AdapterParameter(name + ".bias", bias)]
  }

  func callAsFunction(_ x: Tensor) -> Tensor { x.linear(weight.value, bias: bias.value) }
}

/// What makes the numbers of virtual tokens.
protocol PromptEncoder: AnyObject {
  /// Tensors with their names: those of PEFT's file, unless it is a ``DerivedPromptEncoder``.
  var parameters: [AdapterParameter] { get }
  /// What the virtual tokens are asked in training.
  var targets: PromptTargets? { get }
  /// What happens between steps of training.
  var training: (any AdapterTraining)? { get }

  /// The numbers of a batch.
  ///
  /// - Parameters:
  ///   - rows: Rows of the batch.
  ///   - context: Whether dropout is on, its generator, and tasks.
  /// - Returns: `[n, size]` or `[rows, n, size]`.
  func prompt(rows: Int, _ context: AdapterContext) -> Tensor
}

extension PromptEncoder {
  var targets: PromptTargets? { nil }
  var training: (any AdapterTraining)? { nil }
}

/// An encoder that PEFT's file does not hold: only what it gives, as "prompt_embeddings" `[n, size]`.
protocol DerivedPromptEncoder: PromptEncoder {
  /// Whether a second file has to hold the encoder for training to go on exactly.
  var needsCompanion: Bool { get }

  /// Takes over what PEFT's file holds.
  ///
  /// - Parameter embeddings: `[n, size]`, of the parameters' type and device.
  /// - Returns: Whether the encoder gives this now, so that it can be trained.
  func take(_ embeddings: Tensor) -> Bool
}

extension DerivedPromptEncoder {
  var needsCompanion: Bool { true }
}

/// Virtual tokens that are parameters themselves.
final class PromptTable: PromptEncoder {
  let table: Parameter

  init(_ table: Parameter) { self.table = table }

  var parameters: [AdapterParameter] { [AdapterParameter(promptKey, table)] }

  func prompt(rows: Int, _ context: AdapterContext) -> Tensor { table.value }
}

/// PEFT's name of what every such method saves.
let promptKey = "prompt_embeddings"
