import Foundation
import JSONValues
import Layers
import Models
import Tensors

/// Configuration of context-aware prompt tuning: virtual tokens that are examples with answers, whose
/// embeddings are moved by little.
///
/// The type of a token is counted in fours, from one example to the next: 1 the form before an input, 2
/// the input, 3 the form before an answer, 4 the answer; 5 to 8 the same in the second example, and so on;
/// 0 is none of them. Forms and inputs may move within a ball around their embeddings; answers do not, and
/// are predicted too in training. The row's own labels count as answers of one more example. (PEFT 0.21.2
/// counts on from the largest type, so that with a last example cut before its answer no label counts and
/// its loss is not a number; the row is a new example here in that case too.)
///
/// PEFT saves only the moved embeddings. What moved them is written beside it here, in
/// `adapter_encoder.safetensors`; without that file it is the difference to the model's embeddings.
///
/// Source: Blau et al. 2024, arXiv 2410.17222. Defaults are those of PEFT 0.21.2.
public struct CPTConfig: PromptConfiguration {
  /// PEFT's name of the method.
  public static let type = "CPT"

  /// How answers are weighted.
  public enum LossWeighting: String, Sendable, CaseIterable {
    /// All the same.
    case none
    /// The row's by one, those of each earlier example by the decay factor once more.
    case decay
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// How many virtual tokens, and sizes of the model.
  public var settings = PromptSettings(tokenCount: 1, submoduleCount: 1)
  /// Ids of the virtual tokens.
  public var tokenIDs = [0] { didSet { settings.tokenCount = tokenIDs.count } }
  /// PEFT's `cpt_mask`, which nothing uses; nil for ones.
  public var mask: [Int]?
  /// Types of the virtual tokens; nil for ones.
  public var tokenTypes: [Int]?
  /// How answers are weighted.
  public var lossWeighting = LossWeighting.none
  /// Factor of each earlier example.
  public var lossDecay = 1.0
  /// Radius for inputs, times sqrt(hidden size / 2048).
  public var inputRadius = 0.1
  /// Radius for forms, likewise.
  public var formRadius = 0.1
  /// PEFT's `tokenizer_name_or_path`, which nothing uses.
  public var tokenizerName: String?

  /// Makes a configuration with PEFT's defaults: one virtual token, the first of the vocabulary.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - tokenIDs: Ids of the virtual tokens, at least one.
  ///   - tokenTypes: Their types.
  public init(tokenIDs: [Int], tokenTypes: [Int]) {
    self.tokenIDs = tokenIDs
    self.tokenTypes = tokenTypes
    settings.tokenCount = tokenIDs.count
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    ConfigurationField.settings + [
      ConfigurationField(
        "cpt_token_ids",
        read: { (object, reader) throws(AdapterError) in
          // The number of ids decides, as in PEFT.
          object.tokenIDs = try reader.integers("cpt_token_ids") ?? [0]
        }, write: { .array($0.tokenIDs.map { .integer($0) }) }),
      ones("cpt_mask", \.mask), ones("cpt_tokens_type_mask", \.tokenTypes),
      .choice("opt_weighted_loss_type", \.lossWeighting),
      .number("opt_loss_decay_factor", \.lossDecay),
      .number("opt_projection_epsilon", \.inputRadius),
      .number("opt_projection_format_epsilon", \.formRadius),
      .string("tokenizer_name_or_path", \.tokenizerName),
    ]
  }

  private static func ones(
    _ key: String, _ path: WritableKeyPath<Self, [Int]?>
  ) -> ConfigurationField<Self> {
    ConfigurationField(
      key,
      read: { (object, reader) throws(AdapterError) in
        object[keyPath: path] = try reader.integers(key)
      },
      write: { object in
        .array((object[keyPath: path] ?? object.tokenIDs.map { _ in 1 }).map { .integer($0) })
      })
  }
}

extension CPTConfig: PromptMethod {
  static var kind: ModelPrompt.Kind { .embeddings }

  func validateOwn() throws(AdapterError) {
    try require("task_type", taskType == "CAUSAL_LM", "CAUSAL_LM", taskType ?? "none")
    for (key, list) in [("cpt_mask", mask), ("cpt_tokens_type_mask", tokenTypes)] {
      try require(
        key, list?.count ?? tokenIDs.count == tokenIDs.count,
        "\(tokenIDs.count) numbers, as many as cpt_token_ids", "\(list?.count ?? 0) numbers")
    }
    if let bad = tokenTypes?.first(where: { $0 < 0 }) {
      try require("cpt_tokens_type_mask", false, "numbers of at least 0", bad)
    }
    for (key, value) in [
      ("opt_projection_epsilon", inputRadius), ("opt_projection_format_epsilon", formRadius),
    ] { try require(key, value.isFinite && value >= 0, "a number of at least 0", value) }
    try require("opt_loss_decay_factor", lossDecay.isFinite, "a number", lossDecay)
  }

  func encoder(for site: PromptSite) throws(AdapterError) -> any PromptEncoder {
    let table = try site.embeddings(of: tokenIDs, field: "cpt_token_ids")
    let types = tokenTypes ?? tokenIDs.map { _ in 1 }
    let scale = (Double(table.value.size(1)) / 2048).squareRoot()
    let radii = types.map { type in
      // PEFT's smallest radius stands for those that do not move.
      switch type % 4 {
      case 1, 3: formRadius * scale
      case 2: inputRadius * scale
      default: 1e-10
      }
    }
    func column(_ values: [Double]) -> Tensor {
      Tensor(values, shape: [values.count, 1]).to(site.dtype).to(device: site.device)
    }
    return ContextPrompt(
      table: table, delta: site.zeros(table.value.shape), radii: column(radii),
      moves: column(types.map { $0 % 4 == 0 ? 0 : 1 }), targets: targets(types))
  }

  /// Answers of the examples, weighted from the last one back.
  private func targets(_ types: [Int]) -> PromptTargets {
    func isAnswer(_ type: Int) -> Bool { type > 0 && type % 4 == 0 }
    // Nothing predicts the very first token, so that its example does not count for the decay.
    let examples = Set(types.dropFirst().filter(isAnswer)).sorted(by: >)
    return PromptTargets(
      labels: zip(tokenIDs, types).map { isAnswer($1) ? $0 : ignoredLabel },
      weights: types.map { type in
        guard lossWeighting == .decay, let place = examples.firstIndex(of: type) else { return 1 }
        return pow(lossDecay, Double(place + 1))
      })
  }
}

/// Embeddings of tokens and what is added to them, each row within its radius.
final class ContextPrompt: DerivedPromptEncoder, AdapterTraining {
  let table: Parameter  // [n, hidden]
  let delta: Parameter  // [n, hidden]
  let radii: Tensor  // [n, 1]
  let moves: Tensor  // [n, 1], 0 where a token does not move
  let targets: PromptTargets?

  init(table: Parameter, delta: Parameter, radii: Tensor, moves: Tensor, targets: PromptTargets) {
    self.table = table
    self.delta = delta
    self.radii = radii
    self.moves = moves
    self.targets = targets
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("embedding.weight", table, isTrained: false),
      AdapterParameter("delta_embedding.weight", delta),
    ]
  }

  var training: (any AdapterTraining)? { self }

  func prompt(rows: Int, _ context: AdapterContext) -> Tensor {
    let moves = moves
    // Inside the ball the derivative is the identity; at its edge PEFT leaves it so.
    return table.value
      + differentiable("ContextPrompt", [delta.value]) { inputs in
        (self.projected(inputs[0]), { [$0 * moves] })
      }
  }

  /// The nearest rows within the radii.
  private func projected(_ delta: Tensor) -> Tensor {
    let norms = delta.norm([1], keepDimensions: true)  // [n, 1]
    let factors = radii / norms.maximum(radii)
    return delta * Tensor.choosing(norms .> 0, factors, factors.onesLike())
  }

  func take(_ embeddings: Tensor) -> Bool {
    let moved = embeddings - table.value
    let room = radii * (1 + 1e-3) + 1e-6
    guard (moved.norm([1], keepDimensions: true) - room).max().item() <= 0 else { return false }
    delta.replaceValue(moved)
    return true
  }

  func penalty() -> Tensor? { nil }

  func didStep(_ step: Int, of total: Int) {
    withoutGradients { _ = delta.value.copyInPlace(from: projected(delta.value.detached())) }
  }

  var state: [(name: String, tensor: Tensor)] { [] }

  func restore(_ state: [String: Tensor]) {}
}

extension Parameter {
  /// Puts other numbers in place and stays trainable if it was.
  func replaceValue(_ value: Tensor) {
    let wasTrainable = isTrainable
    self.value = value.detached()
    isTrainable = wasTrainable
  }
}
