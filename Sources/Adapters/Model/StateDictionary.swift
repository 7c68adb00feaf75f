import Layers
public import Tensors

/// What loading an adapter's tensors did.
public struct LoadReport: Equatable, Sendable {
  /// Keys that were found and taken over.
  public var matched: [String] = []
  /// Keys of weights of the base that the file had too and that replaced the base's, as PEFT saves
  /// embeddings and heads in some cases.
  public var replacedBase: [String] = []
  /// Keys that the adapter needs and the file lacks.
  public var missing: [String] = []
  /// Keys that the model has no place for.
  public var unexpected: [String] = []
  /// Keys whose tensors have another shape than the model needs.
  public var misshapen: [Misshapen] = []

  /// A tensor of another shape than is needed.
  public struct Misshapen: Equatable, Sendable {
    /// The tensor's key.
    public let key: String
    /// The shape that the model needs.
    public let expected: [Int]
    /// The shape of the file's tensor.
    public let actual: [Int]
  }

  /// Notes what is wrong with a tensor that is needed.
  ///
  /// - Parameters:
  ///   - key: The tensor's key.
  ///   - actual: The shape of the file's tensor; nil when it has none.
  ///   - expected: The shape that the model needs.
  ///   - free: A dimension that may have any size.
  /// - Returns: Whether the tensor can be taken.
  mutating func accepts(
    _ key: String, _ actual: [Int]?, as expected: [Int], freeDimension free: Int? = nil
  ) -> Bool {
    guard let actual else {
      missing.append(key)
      return false
    }
    var shape = actual
    if let free, shape.count == expected.count { shape[free] = expected[free] }
    guard shape == expected else {
      misshapen.append(Misshapen(key: key, expected: expected, actual: actual))
      return false
    }
    return true
  }

  /// Whether everything was found, and nothing else.
  public var isComplete: Bool { missing.isEmpty && unexpected.isEmpty && misshapen.isEmpty }
}

extension PeftModel {
  /// An adapter's tensors by the keys of its file.
  ///
  /// - Parameter name: The adapter; nil for the first active one.
  /// - Returns: The tensors themselves, not copies, in the order of the file's making.
  /// - Throws: ``AdapterError/name(_:exists:)`` when there is no such adapter.
  public func stateDictionary(
    _ name: String? = nil
  ) throws(AdapterError) -> [(key: String, tensor: Tensor)] {
    try adapter(named: name ?? context.active.first ?? "default").storedTensors
      .map { ($0.name, $0.tensor.detached()) }
  }

  /// Takes over an adapter's tensors.
  ///
  /// - Parameters:
  ///   - tensors: By the keys of files.
  ///   - name: The adapter; nil for the first active one.
  ///   - isStrict: Whether missing, unexpected and misshapen tensors are an error; else they are
  ///     left out and reported.
  ///   - path: Where they come from, for messages.
  /// - Returns: What was taken over and what was not.
  /// - Throws: ``AdapterError/keys(path:report:)``, which lists everything that does not fit; then
  ///   nothing was changed. ``AdapterError/name(_:exists:)`` when there is no such adapter.
  @discardableResult
  public func loadStateDictionary(
    _ tensors: [String: Tensor], into name: String? = nil, isStrict: Bool = true,
    path: String = "state dictionary"
  ) throws(AdapterError) -> LoadReport {
    try load(
      tensors, into: name ?? context.active.first ?? "default", isStrict: isStrict, path: path)
  }

  /// Takes over tensors by the keys that the adapter's own have.
  func take(
    _ tensors: [String: Tensor], into adapter: PlacedAdapter, isStrict: Bool, path: String
  ) throws(AdapterError) -> LoadReport {
    let own = adapter.parameters
    var report = LoadReport()
    var chosen: [(parameter: Parameter, tensor: Tensor)] = []
    func take(
      _ key: String, _ parameter: Parameter, _ matched: WritableKeyPath<LoadReport, [String]>,
      freeDimension: Int? = nil, isTransposed: Bool = false
    ) {
      let found = tensors[key]
      let shape = parameter.value.shape
      // Only whole weights of the base are transposed in files, and these have no free dimension.
      let fits = report.accepts(
        key, found?.shape, as: isTransposed ? shape.reversed() : shape,
        freeDimension: freeDimension)
      guard fits, let found else { return }
      let tensor = isTransposed ? found.transposed() : found
      report[keyPath: matched].append(key)
      chosen.append((parameter, tensor))
    }
    for (key, entry) in own {
      take(
        key, entry.parameter, \.matched, freeDimension: entry.freeDimension,
        isTransposed: entry.isTransposedInFiles)
    }
    let extra = Set(tensors.keys).subtracting(own.map(\.key)).subtracting(adapter.repeatedKeys)
      .sorted()
    let ofBase = extra.isEmpty ? [:] : baseParameters()
    let transposed = extra.isEmpty ? [] : Set(base.pathsTransposedInFiles.map { keyPrefix + $0 })
    for key in extra {
      guard let parameter = ofBase[key] else {
        report.unexpected.append(key)
        continue
      }
      take(key, parameter, \.replacedBase, isTransposed: transposed.contains(key))
    }
    guard report.isComplete || !isStrict else { throw .keys(path: path, report: report) }
    let before = chosen.map(\.parameter.value)
    for (parameter, tensor) in chosen {
      let (trainable, current) = (parameter.isTrainable, parameter.value)
      // A copy: the file may be replaced while the model lives. What was only a shape gets the type
      // and place of the base.
      let device = current.device == .meta ? self.device : current.device
      let found = tensor.to(current.dtype).to(device: device)
      // It lies in memory as before, so that products round alike.
      parameter.value = (current.isContiguous ? found.contiguous() : found).cloned()
      parameter.isTrainable = trainable
    }
    do {
      for (path, part) in adapter.layers {
        try naming(path) { () throws(AdapterError) in try part.didLoad() }
      }
    } catch {
      for (entry, value) in zip(chosen, before) { entry.parameter.value = value }
      throw error
    }
    return report
  }

  /// Runs `body`; what is wrong with a field is then wrong with this layer's.
  private func naming(
    _ layer: String, _ body: () throws(AdapterError) -> Void
  ) throws(AdapterError) {
    do {
      try body()
    } catch .configuration(let field, let expected, let actual) {
      throw .configuration(field: "\(field) of \(layer)", expected: expected, actual: actual)
    }
  }

  /// The base's own parameters by the keys under which PEFT would save them.
  private func baseParameters() -> [String: Parameter] {
    // An adapter's own tensors have its name in their paths here and would never be found.
    Dictionary(
      base.parameters().map { (keyPrefix + $0.path, $0.parameter) },
      uniquingKeysWith: { first, _ in first })
  }
}
