import Checkpoints
import JSONValues
import Layers

/// What llama.cpp calls a family of decoders, and what its reader of it takes for granted.
///
/// A model that differs from that is refused by name: it would be read without an error and compute
/// something else. Source: llama.cpp's `convert_hf_to_gguf.py` and the loaders of its models, 2026.
struct GGUFExportArchitecture: Sendable {
  /// `model_type` of config.json.
  let modelType: String
  /// `general.architecture` of the file.
  let name: String
  /// Whether its reader rotates neighbouring elements of a head, so that rows of q and k change places.
  var interleavesRows = false
  /// Whether one is added to weights of norms.
  var addsOneToNorms = false
  /// Whether the output head has to be the embedding table.
  var needsTiedHead = false
  /// Whether a tied output head is written all the same.
  var writesTiedHead = false
  /// What of biases, windows, positions and scores may be there.
  var allows: Set<Feature> = []
  var activations: [ActivationFunction] = [.silu, .swish]

  /// What not every reader knows.
  enum Feature {
    /// Biases of q, k and v; of the attention's output; of the MLP.
    case queryKeyValueBias, outputBias, mlpBias
    /// Stretched positions by kind.
    case linearRope, yarnRope, llama3Rope, longRope
    /// Less than a whole head rotated.
    case partialRope
    /// A window on some layers, as the family's pattern says.
    case window
    /// A window that the file says, on all layers.
    case describedWindow
    /// Capped scores of attention, of tokens.
    case attentionSoftcap, logitsSoftcap
    /// Factors of embeddings, attention, residuals and scores.
    case factors
  }

  static let all: [GGUFExportArchitecture] = [
    .init(
      modelType: "llama", name: "llama", interleavesRows: true,
      allows: [
        .queryKeyValueBias, .outputBias, .mlpBias, .linearRope, .yarnRope, .llama3Rope,
      ]),
    .init(
      modelType: "mistral", name: "llama", interleavesRows: true,
      allows: [.linearRope, .yarnRope]),
    .init(
      modelType: "qwen2", name: "qwen2", allows: [.queryKeyValueBias, .linearRope, .yarnRope]),
    .init(modelType: "qwen3", name: "qwen3", allows: [.linearRope, .yarnRope]),
    .init(
      modelType: "gemma", name: "gemma", addsOneToNorms: true, needsTiedHead: true,
      activations: geluTanh),
    .init(
      modelType: "gemma2", name: "gemma2", addsOneToNorms: true, needsTiedHead: true,
      allows: [.window, .attentionSoftcap, .logitsSoftcap], activations: geluTanh),
    .init(
      modelType: "gemma3_text", name: "gemma3", addsOneToNorms: true, needsTiedHead: true,
      allows: [.window, .linearRope], activations: geluTanh),
    .init(
      modelType: "phi3", name: "phi3", allows: [.longRope, .partialRope, .describedWindow]),
    .init(
      modelType: "granite", name: "granite", interleavesRows: true,
      allows: [.queryKeyValueBias, .outputBias, .mlpBias, .factors]),
    .init(modelType: "smollm3", name: "smollm3", interleavesRows: true),
    .init(modelType: "olmo2", name: "olmo2", writesTiedHead: true),
    .init(
      modelType: "gpt2", name: "gpt2", allows: [.queryKeyValueBias, .outputBias, .mlpBias],
      activations: geluTanh),
  ]

  private static let geluTanh: [ActivationFunction] = [
    .geluTanh, .geluNew, .geluFast, .geluPythonTanh, .geluAccurate,
  ]

  /// The architecture of a model.
  ///
  /// - Parameters:
  ///   - model: Shape and switches.
  ///   - path: What messages call the model.
  /// - Returns: The architecture.
  /// - Throws: ``ModelError/unsupported(path:what:supported:)`` that names what llama.cpp does not
  ///   have.
  static func of(
    _ model: DecoderConfiguration, path: String
  ) throws(ModelError) -> GGUFExportArchitecture {
    guard let found = all.first(where: { $0.modelType == model.modelType }) else {
      throw .unsupported(
        path: path, what: "model type \"\(model.modelType)\" in a GGUF file",
        supported: all.map(\.modelType))
    }
    try found.check(model, path)
    return found
  }

  private func check(_ model: DecoderConfiguration, _ path: String) throws(ModelError) {
    func refuse(_ what: String, unless isRight: Bool, _ supported: String) throws(ModelError) {
      guard !isRight else { return }
      throw .unsupported(
        path: path, what: "\(what) in a GGUF file of architecture \(name)", supported: [supported])
    }
    func refuse(_ what: String, if isThere: Bool, unless feature: Feature) throws(ModelError) {
      try refuse(what, unless: !isThere || allows.contains(feature), "none of it")
    }
    try refuse(
      "activation \"\(model.activation.rawValue)\"", unless: activations.contains(model.activation),
      activations[0].rawValue)
    try refuse("a bias of q, k and v", if: model.hasQueryKeyValueBias, unless: .queryKeyValueBias)
    try refuse("a bias of the attention's output", if: model.hasOutputBias, unless: .outputBias)
    try refuse("biases in the MLP", if: model.hasMLPBias, unless: .mlpBias)
    try refuse(
      "an output head of its own", unless: !needsTiedHead || model.tiesEmbeddings,
      "tie_word_embeddings true")
    try refuse("growing queries", unless: model.queryGrowth == nil, "none")
    let caps = (model.attentionSoftcap != nil, model.logitsSoftcap != nil)
    try refuse("attn_logit_softcapping", if: caps.0, unless: .attentionSoftcap)
    try refuse("final_logit_softcapping", if: caps.1, unless: .logitsSoftcap)
    try refuse(
      "attn_logit_softcapping null", unless: caps.0 || !allows.contains(.attentionSoftcap),
      "a number")
    try refuse(
      "final_logit_softcapping null", unless: caps.1 || !allows.contains(.logitsSoftcap), "a number"
    )
    try checkScales(model, path)
    try checkRopes(model, path)
    try checkWindows(model, path)
  }

  /// The factor of queries times keys is the usual one, where the file cannot say it.
  private func checkScales(_ model: DecoderConfiguration, _ path: String) throws(ModelError) {
    guard !allows.contains(.factors) else {
      guard Set(model.attentionScales).count == 1 else {
        throw .unsupported(path: path, what: "attention factors by layer", supported: ["one"])
      }
      return
    }
    var size = Double(model.headSize)
    // The largest models of Gemma 2 and 3, which their reader knows by the number of blocks.
    if (name == "gemma2" && model.layerCount == 46) || (name == "gemma3" && model.layerCount == 62)
    {
      size = Double(model.hiddenSize / model.headCount)
    }
    let usual = 1 / size.squareRoot()
    guard model.attentionScales.allSatisfy({ abs($0 - usual) <= 1e-12 }) else {
      throw .unsupported(
        path: path,
        what: "an attention factor of \(model.attentionScales[0]) in a GGUF file of architecture "
          + name,
        supported: ["1 / sqrt(\(Int(size)))"])
    }
  }

  private func checkWindows(_ model: DecoderConfiguration, _ path: String) throws(ModelError) {
    guard allows.contains(.window) else { return }
    let (period, last) = name == "gemma2" ? (2, 1) : (6, 5)
    let windows = Set(model.slidingWindows.compactMap { $0 })
    let fits = model.slidingWindows.enumerated().allSatisfy { layer, window in
      (window == nil) == (layer % period == last)
    }
    guard fits, windows.count == 1 else {
      throw .unsupported(
        path: path, what: "this pattern of sliding windows in a GGUF file of architecture \(name)",
        supported: ["one window on all layers but every \(period == 2 ? "second" : "sixth") one"])
    }
  }
}
