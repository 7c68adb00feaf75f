public import Layers
public import Quantization
public import Tensors

extension Module {
  /// Takes the weights of another model of the same layers, which is not to be used any more.
  ///
  /// Parameters are the other's, so that what it ties is tied here. Projections and tables are too, so
  /// that quantised ones come as they are.
  ///
  /// - Throws: ``ModelError/input(_:)`` when a parameter has no counterpart of its shape, before anything
  ///   is changed.
  func takeWeights(of other: any Module) throws(ModelError) {
    let there = Dictionary(
      other.modules().map { ($0.path, $0.module) }, uniquingKeysWith: { first, _ in first })
    let shapes = Dictionary(
      other.parameters().map { ($0.path, $0.parameter.value.shape) },
      uniquingKeysWith: { first, _ in first })
    let own = modules()
    for (path, module) in own {
      if let layer = module as? Linear, let found = there[path] as? Linear {
        try Self.compare(
          path, [layer.outputSize, layer.inputSize], [found.outputSize, found.inputSize])
        continue
      }
      if let layer = module as? Embedding, let found = there[path] as? Embedding {
        try Self.compare(
          path, [layer.table.count, layer.table.size], [found.table.count, found.table.size])
        continue
      }
      if module is any LinearProjection || module is any EmbeddingTable { continue }
      var missing: (name: String, shape: [Int])?
      module.mapParameters { name, parameter in
        let (name, shape) = (joined(path, name), parameter.value.shape)
        if shapes[name] != shape { missing = missing ?? (name, shape) }
        return parameter
      }
      if let missing { try Self.compare(missing.name, missing.shape, shapes[missing.name]) }
    }
    for (path, module) in own {
      if let layer = module as? Linear, let found = there[path] as? Linear {
        layer.projection = found.projection
      } else if let layer = module as? Embedding, let found = there[path] as? Embedding {
        layer.table = found.table
      } else if let found = there[path] {
        var parameters: [String: Parameter] = [:]
        found.mapParameters { name, parameter in
          parameters[name] = parameter
          return parameter
        }
        module.mapParameters { name, parameter in parameters[name] ?? parameter }
      }
    }
  }

  private static func compare(
    _ name: String, _ own: [Int], _ other: [Int]?
  ) throws(ModelError) {
    guard own != other else { return }
    throw .input(
      "\(name) has shape \(own) in this model, and "
        + (other.map { "\($0)" } ?? "no counterpart") + " in the one whose weights it is to take")
  }
}

extension DecoderForCausalLM {
  /// Loads a checkpoint in place of the weights that the model has, or that it only has the shapes of.
  ///
  /// What the model was before, and what refers to its parameters, does not count any more: adapters are
  /// put on behind it, or taken off meanwhile by `PeftModel.loadBaseWeights`. Weights go straight to
  /// their place, one after another.
  ///
  /// - Parameters:
  ///   - directory: A Hugging Face directory of the same configuration.
  ///   - dtype: Type to compute in; nil for that of the weights so far.
  ///   - device: Where to compute.
  ///   - quantization: How linear layers are quantised as they are read; nil for not at all.
  ///   - blocks: As in ``AutoModelForCausalLM/fromPretrained(_:dtype:device:quantization:blocks:)``.
  /// - Throws: As opening the directory does, and ``ModelError`` when it holds another model.
  public func loadWeights(
    from directory: String, dtype: DType? = nil, device: Device = .cpu,
    quantization: QuantizationOptions? = nil, blocks: (any BlockSource)? = nil
  ) throws {
    let loaded = try AutoModelForCausalLM.fromPretrained(
      directory, dtype: dtype ?? model.embedding.table.dtype, device: device,
      quantization: quantization, blocks: blocks)
    try takeWeights(of: loaded)
    model.residency = loaded.model.residency
  }
}

extension EncoderDecoderForConditionalGeneration {
  /// Loads a checkpoint in place of the weights that the model has, or that it only has the shapes of.
  ///
  /// - Parameters:
  ///   - directory: A Hugging Face directory of the same configuration.
  ///   - dtype: Type to compute in; nil for that of the weights so far.
  ///   - device: Where to compute.
  ///   - quantization: How linear layers are quantised as they are read; nil for not at all.
  ///   - blocks: As in ``AutoModelForSeq2SeqLM/fromPretrained(_:dtype:device:quantization:blocks:)``.
  /// - Throws: As opening the directory does, and ``ModelError`` when it holds another model.
  public func loadWeights(
    from directory: String, dtype: DType? = nil, device: Device = .cpu,
    quantization: QuantizationOptions? = nil, blocks: (any BlockSource)? = nil
  ) throws {
    let loaded = try AutoModelForSeq2SeqLM.fromPretrained(
      directory, dtype: dtype ?? model.shared.table.dtype, device: device,
      quantization: quantization, blocks: blocks)
    try takeWeights(of: loaded)
    takeBias(of: loaded)
    residency = loaded.residency
  }
}

extension TaskModel {
  /// Loads a checkpoint in place of the weights that the model has, or that it only has the shapes of.
  ///
  /// Layers of the head that the checkpoint lacks begin with random numbers, and are in ``newLayers``.
  ///
  /// - Parameters:
  ///   - directory: A Hugging Face directory of the same configuration.
  ///   - dtype: Type to compute in; nil for that of the weights so far.
  ///   - device: Where to compute.
  ///   - quantization: How linear layers below the head are quantised as they are read; nil for not.
  ///   - seed: Start of random numbers.
  ///   - blocks: As in ``AutoModel/fromPretrained(_:task:labels:dtype:device:quantization:seed:blocks:)``.
  /// - Throws: As opening the directory does, and ``ModelError`` when it holds another model.
  public func loadWeights(
    from directory: String, dtype: DType? = nil, device: Device = .cpu,
    quantization: QuantizationOptions? = nil, seed: UInt64 = 0, blocks: (any BlockSource)? = nil
  ) throws {
    let own = dtype ?? parameters().first?.parameter.value.dtype
    let loaded = try AutoModel.fromPretrained(
      directory, task: task, labels: labels, dtype: own, device: device,
      quantization: quantization, seed: seed, blocks: blocks)
    try takeWeights(of: loaded)
    newLayers = loaded.newLayers
    residency = loaded.residency
  }
}
