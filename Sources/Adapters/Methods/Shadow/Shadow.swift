import Layers
import Models
import Tensors

extension ShadowConfig: ModelMethod {
  static var mergeObstacle: String { "its corrections depend on the tokens" }

  /// The blocks that are meant, by their paths.
  func completed(for site: ModelSite) throws(AdapterError) -> Self {
    guard targetModules == nil else { return self }
    var result = self
    result.targetModules = .names(
      site.model.blockPaths.filter { path in
        layersToTransform.map { chosen in
          TargetMatching.layerIndex(path, patterns: layersPattern).map(chosen.contains) ?? false
        } ?? true
      })
    return result
  }

  func place(_ placed: PlacedAdapter, in site: ModelSite) throws(AdapterError) {
    placed.targets = try blocks(in: site)
    let paths = site.model.blockPaths
    let indices = placed.targets.compactMap(paths.firstIndex(of:)).sorted()
    try require(
      "target_modules", indices.last.map { $0 - indices[0] == indices.count - 1 } ?? false,
      "blocks that follow one another", indices.map(String.init).joined(separator: ", "))
    let size = site.decoder.configuration.hiddenSize
    let small = try smallDecoder(site)
    let width = small.configuration.hiddenSize
    let projection = width == size ? nil : site.linearUniform([size, width])
    let shadows = Dictionary(
      uniqueKeysWithValues: indices.map { ($0, ShadowBlock(self, size: size, site)) })
    for index in indices {
      placed.parameters += (shadows[index]?.parameters ?? []).map {
        (keyPrefix + joined(paths[index], $0.name), $0)
      }
    }
    let transposed = small.pathsTransposedInFiles
    let embeddings = Set(small.embedding.parameters().map(\.parameter))
    placed.parameters += small.parameters().map { path, parameter in
      let isTrained = backbone == "mirror" || !embeddings.contains(parameter)
      return (
        "base_model.shadow_backbone.default." + path,
        AdapterParameter(
          path, parameter, isTrained: isTrained, isTransposedInFiles: transposed.contains(path))
      )
    }
    if embeddings.isEmpty { addUnusedTable(of: small, to: placed) }
    if let projection {
      let name = "shadow_projection.default.weight"
      placed.parameters.append(("base_model." + name, AdapterParameter(name, projection)))
    }
    placed.companion = ShadowNetwork(
      backbone: small, projection: projection, blocks: shadows,
      auxiliaryWeight: taskType == "CAUSAL_LM" ? auxiliaryWeight : 0, decoder: site.decoder)
  }

  /// Lets files have a table of embeddings that the small decoder does not use, as it looks tokens up
  /// in the model's: PEFT leaves out one that is called "embed_tokens", and no other.
  private func addUnusedTable(of small: DecoderModel, to placed: PlacedAdapter) {
    let own = small.children.first { $0.module === small.embedding }
    guard let name = own?.name, name != "embed_tokens" else { return }
    let shape = [small.configuration.vocabularySize, small.configuration.hiddenSize]
    let table = UnusedTable(key: "base_model.shadow_backbone.default.\(name).weight", shape: shape)
    placed.storage = table
    placed.repeatedKeys.insert(table.key)
  }

  /// Paths of the blocks that get corrections.
  private func blocks(in site: ModelSite) throws(AdapterError) -> [String] {
    let paths = site.model.blockPaths
    var selection = self
    switch targetModules {
    case .allLinear:
      throw .configuration(
        field: "target_modules", expected: "blocks, such as \(paths.first ?? "")",
        actual: "all-linear")
    case .names(let names) where names.allSatisfy(paths.contains):
      // As PEFT does where whole paths are given.
      selection.layersToTransform = nil
      selection.layersPattern = []
    default: break
    }
    return try TargetMatching(site.model, among: paths)
      .targets(of: selection, isStrict: site.isStrict)
  }

  private func smallDecoder(_ site: ModelSite) throws(AdapterError) -> DecoderModel {
    let made = backbone == "mirror" ? try mirror(site) : try opened(site)
    made.dropoutGenerator = site.context.generator
    return made
  }

  /// A new decoder of the model's architecture.
  private func mirror(_ site: ModelSite) throws(AdapterError) -> DecoderModel {
    let sizes = MirrorSizes(
      layerCount: layerCount ?? 1, hiddenSize: hiddenSize, intermediateSize: intermediateSize,
      headCount: headCount)
    let shape = site.decoder.configuration.mirrored(sizes)
    try require(
      "shadow_num_attention_heads", shape.headCount % shape.keyValueHeadCount == 0,
      "a multiple of the model's \(shape.keyValueHeadCount) key/value heads", shape.headCount)
    try require(
      "shadow_hidden_size", shape.headSize > 0 && shape.headSize % 2 == 0,
      "a size that gives \(shape.headCount) heads an even number of dimensions", shape.hiddenSize)
    return site.decoder.mirror(
      sizes,
      sharesEmbeddings: sharesEmbeddings
        && shape.hiddenSize == site.decoder.configuration.hiddenSize, dtype: site.dtype
    ) { shape, start in
      switch start {
      case .normal(let deviation): site.normal(shape, deviation: deviation)
      case .zeros: site.zeros(shape)
      case .ones: site.constant(shape, 1)
      }
    }
  }

  /// The decoder of a directory, whose embeddings stay as they are.
  private func opened(_ site: ModelSite) throws(AdapterError) -> DecoderModel {
    func refused(_ actual: Any) -> AdapterError {
      .configuration(
        field: "shadow_model", expected: "\"mirror\" or the directory of a decoder",
        actual: "\(backbone) (\(actual))")
    }
    let model: DecoderForCausalLM
    do {
      model = try AutoModelForCausalLM.fromPretrained(
        backbone, dtype: site.dtype, device: site.device)
    } catch { throw refused(error) }
    let (own, other) = (
      site.decoder.configuration.vocabularySize, model.configuration.vocabularySize
    )
    guard other >= own else { throw refused("with \(other) tokens, but the model has \(own)") }
    guard model.modules().allSatisfy({ $0.module.storedCount == 0 }) else {
      throw refused("quantised, so that it could not be trained")
    }
    return model.model
  }
}

/// Files have a tensor that stands for nothing; it is zero, and what they say of it is not looked at.
private final class UnusedTable: AdapterStorage {
  let key: String
  private let shape: [Int]

  init(key: String, shape: [Int]) { (self.key, self.shape) = (key, shape) }

  func stored(_ tensors: [(key: String, tensor: Tensor)]) -> [(key: String, tensor: Tensor)] {
    tensors + [(key, .zeros(shape, dtype: tensors.first?.tensor.dtype ?? .float32))]
  }

  func restored(
    _ tensors: [String: Tensor], _ configuration: any AdapterConfiguration
  ) throws(AdapterError) -> [String: Tensor] { tensors }
}
