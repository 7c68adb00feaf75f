import Foundation
import JSONValues

/// Configuration of a shadow network: a small decoder beside the model, whose states ride along with
/// the model's from block to block and correct what each block gets.
///
/// s0 is what the small decoder makes of the same tokens. Each of the chosen blocks gets
/// h + alpha dropout(h - s) D^T U^T instead of h, with D `[rank, hidden]` and U `[hidden, rank]`; from its
/// output h' the next state is (1 - g) s + g t with t = T(h') and g = sigmoid(G(h')), where T and G are
/// linear layers with a GELU between them. What the last of the blocks would make of s nobody needs, so
/// that its T and G stay as they are.
///
/// In training, the head predicts the labels from s0 too, and ``auxiliaryWeight`` times that loss is
/// added, for causal language models as PEFT's `task_type` says. Generation keeps keys and values of
/// both decoders. The small decoder cannot be taken out to be used alone here.
///
/// Differences from PEFT 0.21.2, whose files, numbers and initial numbers these are otherwise:
/// - Beside a model of half precision the small decoder is in float32 as everything trained is.
/// - `layers_to_transform` chooses blocks where `target_modules` says nothing; PEFT adapts all then, as
///   it does wherever `target_modules` has whole paths.
/// - Blocks that do not follow one another are refused; PEFT fails when such a model runs.
/// - The loss of an evaluation is the model's own; PEFT's has the small decoder's in it.
/// - Where the model's embeddings are not called `embed_tokens`, PEFT's files have a table that nothing
///   uses; here it is zero.
/// - Relative paths of a file count from its directory if they lead somewhere there.
///
/// Source: Li et al. 2026, arXiv 2604.19254.
public struct ShadowConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "SHADOW"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which blocks get corrections, by their paths or the ends of these; nil for all.
  public var selection = TargetSelection()
  /// Rank of the corrections.
  public var rank = 8
  /// Strength of the corrections.
  public var alpha = 0.1
  /// Share of the differences that is dropped in training.
  public var dropout = 0.2
  /// Whether U starts with zeros, so that outputs do not change.
  public var startsAtIdentity = true
  /// "mirror" for a new decoder of the model's architecture, else the directory of a decoder.
  public var backbone = "mirror"
  /// Blocks of the new decoder; nil for one.
  public var layerCount: Int?
  /// Its width; nil for the model's, else its states are projected.
  public var hiddenSize: Int?
  /// Its query heads; nil for the model's.
  public var headCount: Int?
  /// Width inside its MLP; nil for the model's.
  public var intermediateSize: Int?
  /// Whether a new decoder of the model's width uses the model's embeddings.
  public var sharesEmbeddings = true
  /// Width inside T and G; nil for the rank.
  public var updateSize: Int?
  /// Share of the small decoder's own loss.
  public var auxiliaryWeight = 0.05

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Rank of the corrections, positive.
  ///   - dropout: Share of the differences that is dropped in training, in 0 ..< 1.
  ///   - targetModules: Blocks that get corrections; nil for all.
  public init(rank: Int, dropout: Double = 0.2, targetModules: TargetModules? = nil) {
    self.rank = rank
    self.dropout = dropout
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .number("shadow_alpha", \.alpha), .number("shadow_dropout", \.dropout),
      .flag("init_weights", \.startsAtIdentity), .string("shadow_model", \.backbone),
      .integer("shadow_num_hidden_layers", \.layerCount),
      .integer("shadow_hidden_size", \.hiddenSize),
      .integer("shadow_num_attention_heads", \.headCount),
      .integer("shadow_intermediate_size", \.intermediateSize),
      .flag("share_embeddings", \.sharesEmbeddings), .integer("update_hidden_size", \.updateSize),
      .number("auxiliary_loss_weight", \.auxiliaryWeight), .targetModules, .excludeModules,
      .layersToTransform, .layersPattern, .modulesToSave,
    ]
  }

  /// None: without a choice every block is meant, whatever the model.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Nil.
  public static func defaultTargets(modelType: String) -> TargetModules? { nil }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("r", rank)
    try requireFinite("shadow_alpha", alpha)
    try requireShare("shadow_dropout", dropout)
    try require(
      "auxiliary_loss_weight", auxiliaryWeight.isFinite && auxiliaryWeight >= 0,
      "zero or a positive number", auxiliaryWeight)
    if let updateSize { try requirePositive("update_hidden_size", updateSize) }
    let sizes = [
      ("shadow_num_hidden_layers", layerCount), ("shadow_hidden_size", hiddenSize),
      ("shadow_num_attention_heads", headCount), ("shadow_intermediate_size", intermediateSize),
    ]
    for case (let field, let value?) in sizes {
      try requirePositive(field, value)
      try require(
        field, backbone == "mirror", "nothing beside shadow_model, which has its own", value)
    }
  }
}

extension ShadowConfig: PathConfiguration {
  func resolved(in directory: String) -> Self {
    guard backbone != "mirror", !backbone.hasPrefix("/") else { return self }
    let inside = URL(fileURLWithPath: directory).appendingPathComponent(backbone).standardized.path
    var result = self
    if FileManager.default.fileExists(atPath: inside + "/config.json") { result.backbone = inside }
    return result
  }
}
