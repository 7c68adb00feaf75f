import JSONValues
public import Tensors

/// The updates of a LoRA adapter by layer, apart from any model.
public struct LowRankAdapter {
  /// One layer's update, and how files spell it.
  public struct Layer {
    /// The layer's path in the model.
    public let path: String
    /// The update as a matrix; a convolution's is flattened.
    public var update: LowRankUpdate
    /// Type of the factors.
    let dtype: DType
    /// What files put behind the path.
    let names: (a: String, b: String)
    /// Sizes behind the first of A, and behind the second of B.
    let tails: (a: [Int], b: [Int])
  }

  /// The adapter's configuration.
  public var configuration: LoRAConfig
  /// The updates in the order of the file.
  public var layers: [Layer]
  /// Tensors that are no update: biases and modules that are trained whole, by the keys of files.
  public var others: [(key: String, tensor: Tensor)]
  /// Where it comes from, for messages.
  public let source: String

  /// Sorts an adapter's tensors; MonteCLoRA's distributions are left out, as evaluation does.
  ///
  /// - Parameters:
  ///   - configuration: Its configuration.
  ///   - tensors: Its tensors by the keys of files.
  ///   - source: Where they come from, for messages.
  /// - Throws: ``AdapterError`` when a factor is missing or has another rank than the configuration
  ///   says, ``DecompositionError`` for an adapter whose tensors mean something only beside its base.
  public init(
    configuration: LoRAConfig, tensors: [(key: String, tensor: Tensor)], source: String
  ) throws {
    try Self.checkInitialization(configuration, source)
    (self.configuration, self.source) = (configuration, source)
    let byKey = Dictionary(tensors.map { ($0.key, $0.tensor) }, uniquingKeysWith: { $1 })
    (layers, others) = ([], [])
    var partners: Set<String> = []
    for (key, a) in tensors {
      guard let form = Self.forms.first(where: { key.hasSuffix("." + $0.a) }) else { continue }
      let stem = String(key.dropLast(form.a.count + 1))
      guard let b = byKey[stem + "." + form.b] else {
        throw AdapterError.keys(path: source, missing: [stem + "." + form.b], unexpected: [])
      }
      partners.formUnion([key, stem + "." + form.b])
      let path = stem.hasPrefix(keyPrefix) ? String(stem.dropFirst(keyPrefix.count)) : stem
      let rank = try configuration.rankPattern.value(for: path, default: configuration.rank)
      guard a.rank >= 2, b.rank >= 2, a.size(0) == rank, a.count > 0 else {
        throw AdapterError.wrongShape(
          path: source, key: key, expected: [rank] + a.shape.dropFirst(), actual: a.shape)
      }
      guard b.size(1) == rank, b.count == b.size(0) * rank else {
        throw AdapterError.wrongShape(
          path: source, key: stem + "." + form.b, expected: [b.size(0), rank], actual: b.shape)
      }
      layers.append(
        Layer(
          path: path,
          update: LowRankUpdate(
            a: a.detached().reshaped([rank, -1]), b: b.detached().reshaped([b.size(0), rank]),
            scale: try configuration.scale(ofLayer: path, rank: rank)),
          dtype: a.dtype, names: form,
          tails: (Array(a.shape.dropFirst()), Array(b.shape.dropFirst(2)))))
    }
    // What training draws around the factors is not theirs.
    others = tensors.filter { entry in
      !partners.contains(entry.key)
        && !MonteCLoRADistribution.names.contains { entry.key.hasSuffix("." + $0) }
    }
    self.configuration.monteCLoRA = nil
    let isTied = configuration.ensuresWeightTying
    if isTied, layers.contains(where: { $0.names.a == Self.forms[1].a }) {
      self.configuration = configuration.untied(layers.map(\.path))
    }
    guard !layers.isEmpty else {
      throw AdapterError.keys(path: source, missing: ["….lora_A.weight"], unexpected: [])
    }
  }

  /// Its tensors by the keys of files.
  public var tensors: [(key: String, tensor: Tensor)] {
    layers.flatMap { layer in
      let rank = layer.update.rank
      return [
        (
          "\(keyPrefix)\(layer.path).\(layer.names.a)",
          layer.update.a.to(layer.dtype).reshaped([rank] + layer.tails.a)
        ),
        (
          "\(keyPrefix)\(layer.path).\(layer.names.b)",
          layer.update.b.to(layer.dtype).reshaped([-1, rank] + layer.tails.b)
        ),
      ]
    } + others
  }

  /// Whether its updates are directions whose length is a vector of its own (DoRA).
  ///
  /// Source: Liu et al. 2024, arXiv 2402.09353.
  public var hasMagnitudes: Bool {
    configuration.usesDoRA
      || others.contains { $0.key.hasSuffix("lora_magnitude_vector") }
  }

  /// Whether its updates act at some positions only (aLoRA).
  var actsAtSomePositions: Bool { configuration.invocationTokens != nil }

  private static let forms = [
    (a: "lora_A.weight", b: "lora_B.weight"), (a: "lora_embedding_A", b: "lora_embedding_B"),
  ]

  /// Initialisations that change the base's weights: the file means something only beside the
  /// changed ones, which a reader makes from the rank that the file says.
  private static func checkInitialization(_ configuration: LoRAConfig, _ source: String) throws {
    let others = [
      (configuration.kasa != nil, "kasa_config"), (configuration.bdLoRA != nil, "use_bdlora"),
      (configuration.usesBias, "lora_bias"), (configuration.arrow != nil, "arrow_config"),
    ]
    if let (_, field) = others.first(where: \.0) {
      throw DecompositionError.impossible(
        what: source, reason: "its updates are no products of two factors (\(field))")
    }
    let plain: [LoRAConfig.Initialization] = [
      .standard, .gaussian, .random, .orthogonal, .eva, .mica,
    ]
    guard !plain.contains(configuration.initialization) else { return }
    let kind = configuration.initialization.json.stringValue ?? ""
    throw DecompositionError.impossible(
      what: source,
      reason: "its init_lora_weights is \"\(kind)\", so that it belongs to a changed base; convert "
        + "it to a plain adapter first")
  }
}

extension LoRAConfig {
  /// Says the rank and the alpha of every layer: those of most layers by fields, the rest by patterns
  /// of whole paths.
  ///
  /// A reader takes the first pattern that matches the end of a path, in an order that differs between
  /// the adapter that was saved and the one that was read; so no pattern may match two layers.
  mutating func describe(
    _ layers: [(path: String, rank: Int, alpha: Double)]
  ) throws(AdapterError) {
    rank = Self.mostFrequent(layers.map(\.rank)) ?? rank
    alpha = Self.mostFrequent(layers.map(\.alpha)) ?? alpha
    let sorted = layers.sorted { $0.path < $1.path }
    rankPattern = sorted.filter { $0.rank != rank }.map { PathPattern($0.path, $0.rank) }
    alphaPattern = sorted.filter { $0.alpha != alpha }.map { PathPattern($0.path, $0.alpha) }
    for layer in layers {
      let foundRank = try rankPattern.value(for: layer.path, default: rank)
      let foundAlpha = try alphaPattern.value(for: layer.path, default: alpha)
      guard foundRank == layer.rank, foundAlpha == layer.alpha else {
        // Another layer's path ends with this one's.
        rankPattern = rankPattern.map { PathPattern("^" + $0.pattern, $0.value) }
        alphaPattern = alphaPattern.map { PathPattern("^" + $0.pattern, $0.value) }
        return
      }
    }
  }

  private static func mostFrequent<Value: Hashable & Comparable>(_ values: [Value]) -> Value? {
    Dictionary(values.map { ($0, 1) }, uniquingKeysWith: +)
      .max { ($0.value, $0.key) < ($1.value, $1.key) }?.key
  }
}
