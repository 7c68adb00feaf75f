/// Which biases are trained beside an adapter.
public enum BiasTraining: String, Sendable, CaseIterable {
  /// None.
  case none
  /// Every bias of the model.
  case all
  /// Those of the layers that have the adapter.
  case loraOnly = "lora_only"
}

/// Configuration of low-rank adaptation: y = x W^T + s x A^T B^T with A `[rank, inputSize]` and B
/// `[outputSize, rank]`.
///
/// Source: Hu et al. 2021, arXiv 2106.09685. Defaults are those of PEFT 0.21.2.
public struct LoRAConfig: Equatable, Sendable {
  /// How A and B start.
  public enum Initialization: Equatable, Sendable {
    /// A uniform in ±1/sqrt(inputSize), B zero.
    case standard
    /// A normal with standard deviation 1/rank, B zero.
    case gaussian
    /// Both uniform as a new linear layer's weight, so that the output changes at once.
    case random
  }

  /// Rank of the update.
  public var rank = 8
  /// Numerator of the scale s = alpha / rank, or alpha / sqrt(rank) with `usesRankStabilization`.
  public var alpha = 8.0
  /// Share of inputs of A that are dropped in training.
  public var dropout = 0.0
  /// Layers that get an adapter; nil for the model's default, q_proj and v_proj.
  public var targetModules: TargetModules?
  /// Layers that get none, whatever `targetModules` says.
  public var excludeModules: TargetModules?
  /// Biases that are trained too.
  public var bias = BiasTraining.none
  /// rsLoRA: s = alpha / sqrt(rank).
  ///
  /// Source: Kalajdzievski 2023, arXiv 2312.03732.
  public var usesRankStabilization = false
  /// Numbers of the blocks that get an adapter; nil for all.
  public var layersToTransform: [Int]?
  /// Names of the lists that those numbers count in; empty for any.
  public var layersPattern: [String] = []
  /// Ranks of single layers by an expression for the end of their path; the first match counts.
  public var rankPattern: [Pattern<Int>] = []
  /// Alphas of single layers, likewise.
  public var alphaPattern: [Pattern<Double>] = []
  /// Modules that are trained whole and saved with the adapter.
  public var modulesToSave: [String] = []
  /// How A and B start.
  public var initialization = Initialization.standard
  /// PEFT's `task_type`, for example "CAUSAL_LM".
  public var taskType: String? = "CAUSAL_LM"
  /// Name or directory of the base model, for the reader of the file.
  public var baseModel: String?

  /// A value for layers whose path ends with an expression.
  public struct Pattern<Value: Equatable & Sendable>: Equatable, Sendable {
    /// Regular expression for the end of the path.
    public var pattern: String
    /// What those layers get.
    public var value: Value

    /// Makes an entry.
    ///
    /// - Parameters:
    ///   - pattern: Regular expression for the end of the path.
    ///   - value: What those layers get.
    public init(_ pattern: String, _ value: Value) {
      self.pattern = pattern
      self.value = value
    }
  }

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Rank of the update, positive.
  ///   - alpha: Numerator of the scale.
  ///   - dropout: Share of inputs of A that are dropped in training, in 0 ..< 1.
  ///   - targetModules: Layers that get an adapter; nil for q_proj and v_proj.
  ///   - bias: Biases that are trained too.
  public init(
    rank: Int = 8, alpha: Double = 8, dropout: Double = 0, targetModules: TargetModules? = nil,
    bias: BiasTraining = .none
  ) {
    self.rank = rank
    self.alpha = alpha
    self.dropout = dropout
    self.targetModules = targetModules
    self.bias = bias
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    for (name, value) in [("rank (r)", rank)]
      + rankPattern.map({ ("rank_pattern.\($0.pattern)", $0.value) })
    where value <= 0 {
      throw .configuration(field: name, expected: "a positive number", actual: "\(value)")
    }
    guard (0..<1).contains(dropout) else {
      throw .configuration(
        field: "lora_dropout", expected: "at least 0 and below 1", actual: "\(dropout)")
    }
    guard alpha.isFinite else {
      throw .configuration(field: "lora_alpha", expected: "a number", actual: "\(alpha)")
    }
    if layersToTransform == nil, !layersPattern.isEmpty {
      throw .configuration(
        field: "layers_pattern", expected: "layers_to_transform beside it", actual: "none")
    }
    if layersToTransform != nil, case .pattern = targetModules {
      throw .configuration(
        field: "layers_to_transform", expected: "a list of target_modules", actual: "an expression")
    }
  }

  /// Scale of the update of a layer, as the patterns say.
  ///
  /// - Parameters:
  ///   - path: The layer's path, with or without what PEFT puts before it.
  ///   - rank: The layer's rank.
  /// - Returns: The factor of B A.
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)`` for a pattern that is none.
  public func scale(ofLayer path: String, rank: Int) throws(AdapterError) -> Double {
    let plain =
      path.hasPrefix(PeftModel.prefix) ? path.dropFirst(PeftModel.prefix.count) : path[...]
    let patterns = alphaPattern.map { ($0.pattern, $0.value) }
    let alpha = try TargetMatching.value(for: String(plain), in: patterns, default: self.alpha)
    return scale(rank: rank, alpha: alpha)
  }

  /// Scale of the update of one layer.
  ///
  /// - Parameters:
  ///   - rank: The layer's rank.
  ///   - alpha: The layer's alpha.
  /// - Returns: alpha / rank, or alpha / sqrt(rank) with `usesRankStabilization`.
  public func scale(rank: Int, alpha: Double) -> Double {
    alpha / (usesRankStabilization ? Double(rank).squareRoot() : Double(rank))
  }
}
