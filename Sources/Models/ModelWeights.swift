import Checkpoints
import Layers
import Quantization
import Tensors

/// Layers over the weights of a checkpoint, or over shapes alone.
struct ModelWeights {
  /// The files; nil where there are shapes alone, of which every layer of the model has its own.
  let checkpoint: SafetensorsCheckpoint?
  /// Type to compute in; nil for the stored one.
  private(set) var dtype: DType?
  let device: Device
  /// What is done to linear layers that the checkpoint holds dense.
  private(set) var quantization: QuantizationOptions?
  private let stored: QuantizedWeightReader?
  /// Type that the configuration says.
  private let storedDType: DType?
  /// What layers of a model with a head have before the names of the bare model in this checkpoint.
  let prefix: String

  // `bases`: the bare model's names inside models with heads; `probe`: a tensor that every bare model
  // has, by which is seen which of them stands before it.
  init(
    checkpoint: SafetensorsCheckpoint?, dtype: DType?, device: Device,
    quantization: QuantizationOptions?, stored: BitsAndBytesConfiguration?, storedDType: DType?,
    bases: [String], probe: String
  ) {
    self.checkpoint = checkpoint
    self.dtype = dtype
    self.device = device
    self.quantization = quantization
    self.storedDType = storedDType
    self.stored = checkpoint.map {
      QuantizedWeightReader(checkpoint: $0, configuration: stored, device: device)
    }
    // With none of the names, what is missing is named as files of whole models have it.
    let found = bases.first { checkpoint?.entry("\($0).\(probe)") != nil }
    let isBare = found == nil && checkpoint?.entry(probe) != nil
    prefix = isBare ? "" : (found ?? bases[0]) + "."
  }

  /// Where the weights are, for messages.
  var directory: String { checkpoint?.directory ?? "the model's configuration" }

  /// Whether the files have a tensor.
  func isStored(_ name: String) -> Bool { checkpoint?.entry(name) != nil }

  /// Whether a layer that files may lack is one of the model's own: where there are shapes alone, it is.
  func offers(_ name: String) -> Bool { checkpoint == nil || isStored(name) }

  /// Refuses a weight or bias of one of the model's own layers that the model did not take: without it,
  /// it would compute something else.
  ///
  /// Tensors of layers that the model does not have, such as tables of positions that old files repeat
  /// or further heads, do no harm.
  func checkNothingIsLeft(of model: any Module, base: String) throws(ModelError) {
    func parts(_ name: String) -> (layer: Substring, leaf: Substring) {
      guard let dot = name.lastIndex(of: ".") else { return ("", name[...]) }
      return (name[..<dot], name[name.index(after: dot)...])
    }
    var known: Set<String> = []
    var layers: Set<Substring> = []
    for (path, module) in model.modules() where !module.storedTensors.isEmpty {
      layers.insert(path[...])
      known.insert(path + ".weight")
    }
    for (path, _) in model.parameters() {
      known.insert(path)
      layers.insert(parts(path).layer)
    }
    for name in checkpoint?.names ?? [] {
      // Inside the bare model's files the name of the model itself is missing.
      let path = prefix.isEmpty && !name.hasPrefix("lm_head.") ? "\(base).\(name)" : name
      let (layer, leaf) = parts(path)
      guard leaf == "weight" || leaf == "bias", layers.contains(layer), !known.contains(path) else {
        continue
      }
      throw .unexpectedTensor(path: directory, name: name)
    }
  }

  /// The same without quantisation.
  ///
  /// - Parameter dtype: Type to compute in; nil for the stored one.
  /// - Returns: What gives dense layers, but for weights that the checkpoint holds quantised.
  func dense(dtype: DType?) -> ModelWeights {
    var other = self
    (other.dtype, other.quantization) = (dtype, nil)
    return other
  }

  /// A linear layer.
  ///
  /// - Parameters:
  ///   - name: Its path in the checkpoint.
  ///   - shape: Outputs and inputs.
  ///   - hasBias: Whether it has a bias.
  ///   - isTransposed: Whether the checkpoint has [inputs, outputs].
  ///   - staysDense: Whether it is not quantised where others are.
  /// - Returns: The layer, quantised where that is asked for.
  /// - Throws: ``ModelError`` or `QuantizationError` when the checkpoint has no such weight.
  func linear(
    _ name: String, _ shape: [Int], hasBias: Bool = false, isTransposed: Bool = false,
    staysDense: Bool = false
  ) throws -> Linear {
    try linear(
      name, shape, bias: hasBias ? Parameter(try tensor(name + ".bias", [shape[0]])) : nil,
      isTransposed: isTransposed, staysDense: staysDense)
  }

  private func linear(
    _ name: String, _ shape: [Int], bias: Parameter?, isTransposed: Bool = false,
    staysDense: Bool = false
  ) throws -> Linear {
    if let found = try storedProjection(name, shape: shape, bias: bias) { return Linear(found) }
    var weight = try tensor(name + ".weight", isTransposed ? shape.reversed() : shape)
    if isTransposed { weight = weight.transposed() }
    // What a quantised checkpoint holds dense stays so.
    if !staysDense, stored?.configuration == nil, let quantization, !quantization.skips(name) {
      let made = Linear(
        quantization.format.projection(weight.contiguous(), bias: bias),
        isTransposedInFiles: isTransposed)
      // The dense weight is not needed again: its pages need not stay in memory.
      if let (file, entry) = checkpoint?.entry(name + ".weight") {
        file.mapping.release(entry.byteRange)
      }
      return made
    }
    return Linear(
      DenseProjection(weight: Parameter(weight), bias: bias), isTransposedInFiles: isTransposed)
  }

  /// A projection whose weight the checkpoint holds quantised, or nil.
  func storedProjection(
    _ name: String, shape: [Int], bias: Parameter? = nil
  ) throws -> (any LinearProjection)? {
    let found = try stored?.projection(
      name, shape: shape, bias: bias, dtype: dtype ?? storedDType)
    if let found, let quantization {
      let format = WeightFormat(of: found)
      guard format == quantization.format else {
        throw QuantizationError.alreadyQuantized(
          path: directory, format: format?.description ?? "?",
          wanted: quantization.format.description)
      }
    }
    return found
  }

  func layerNorm(
    _ name: String, size: Int, epsilon: Double, hasBias: Bool = true
  ) throws -> LayerNorm {
    // Old checkpoints say gamma and beta.
    func parameter(_ modern: String, _ old: String) throws -> Parameter {
      let (exists, other) = (isStored("\(name).\(modern)"), isStored("\(name).\(old)"))
      return Parameter(try tensor("\(name).\(!exists && other ? old : modern)", [size]))
    }
    return LayerNorm(
      weight: try parameter("weight", "gamma"),
      bias: hasBias ? try parameter("bias", "beta") : nil, epsilon: epsilon)
  }

  func rmsNorm(
    _ name: String, size: Int, epsilon: Double, weighting: RMSNorm.Weighting = .cast
  ) throws -> RMSNorm {
    RMSNorm(
      weight: Parameter(try tensor(name + ".weight", [size])), epsilon: epsilon,
      weighting: weighting)
  }

  func tensor(_ name: String, _ shape: [Int]) throws -> Tensor {
    guard let checkpoint else {
      return .empty(shape, dtype: dtype ?? storedDType ?? .float32, device: device)
    }
    guard let found = try checkpoint.tensor(name) else {
      throw ModelError.missingTensor(path: directory, name: name)
    }
    guard found.shape == shape else {
      throw ModelError.wrongShape(
        path: directory, name: name, expected: shape, actual: found.shape)
    }
    guard found.dtype.isFloatingPoint else {
      throw ModelError.wrongType(
        path: directory, name: name, actual: "\(found.dtype)")
    }
    guard let dtype, dtype != found.dtype else { return found.to(device: device) }
    // What is converted is not read again: its pages need not stay in memory.
    defer { found.releaseFileBackedMemory() }
    return found.to(dtype).to(device: device)
  }

  /// The embedding table and the output head: one parameter when tied; a checkpoint that holds only
  /// one of the two serves both.
  ///
  /// - Parameters:
  ///   - embeddingName: The table's path.
  ///   - headName: The head's path.
  ///   - shape: Tokens and width.
  ///   - isTied: What the configuration says.
  ///   - bias: The head's bias, or nil.
  /// - Returns: Both layers.
  /// - Throws: ``ModelError`` or `QuantizationError` when the checkpoint has neither.
  func embeddingAndHead(
    _ embeddingName: String, _ headName: String, shape: [Int], isTied: Bool,
    bias: Parameter? = nil
  ) throws -> (Embedding, Linear) {
    guard isTied else {
      return (
        try embedding(Parameter(try tensor(embeddingName + ".weight", shape)), isTied: false),
        try linear(headName, shape, bias: bias)
      )
    }
    let (table, matrix) = (embeddingName + ".weight", headName + ".weight")
    let hasEmbedding = offers(table)
    let shared = Parameter(try tensor(hasEmbedding ? table : matrix, shape))
    if let quantized = try storedProjection(headName, shape: shape, bias: bias) {
      return (try embedding(shared, isTied: true), Linear(quantized))
    }
    var head = shared
    if isStored(matrix), hasEmbedding {
      // Both are there: as the reference does, they are tied only if they are equal.
      let own = try tensor(matrix, shape)
      if !own.isEqual(to: shared.value) { head = Parameter(own) }
    }
    return (
      try embedding(shared, isTied: true), Linear(DenseProjection(weight: head, bias: bias))
    )
  }

  /// The embedding table of a model without an output head over the vocabulary.
  func embedding(_ name: String, shape: [Int]) throws -> Embedding {
    try embedding(Parameter(try tensor(name + ".weight", shape)), isTied: false)
  }

  /// A table over a parameter.
  func embedding(_ weight: Parameter, isTied: Bool) throws -> Embedding {
    guard let quantization, quantization.quantizesEmbeddings else {
      return Embedding(weight: weight)
    }
    guard !isTied else {
      throw ModelError.unsupported(
        path: directory,
        what: "quantising the embeddings of a model whose output head is the same table (it stays "
          + "as it is, so that a second table would take more memory)",
        supported: ["models with tie_word_embeddings false"])
    }
    return Embedding(quantization.format.table(weight.value))
  }
}
