import Layers
import Models
import Quantization
import Tensors

/// How large a base is, by its configuration: no weight is opened.
enum BaseSize {
  /// Bytes of everything that a decoder keeps, what two layers share once.
  ///
  /// - Parameters:
  ///   - directory: The model's.
  ///   - dtype: Type to compute in.
  ///   - quantization: How linear layers are quantised; nil for not at all.
  /// - Returns: Bytes of dense weights, and of codes with their scales.
  /// - Throws: `ModelError` or `JSONError` for a configuration that is unusable, and what opening the
  ///   model throws where its files are quantised.
  static func bytes(
    _ directory: String, _ dtype: DType, _ quantization: QuantizationOptions?
  ) throws -> Int {
    // What files hold quantised has sizes of its own.
    let stored = try AutoModelForCausalLM.storedFormat(of: directory) != nil
    let model =
      stored
      ? try AutoModelForCausalLM.fromPretrained(directory, dtype: dtype, quantization: quantization)
      : try AutoModelForCausalLM.fromConfiguration(directory, dtype: dtype)
    var seen: Set<Parameter> = []
    var codes: Set<Parameter> = []
    var total = model.modules().flatMap(\.module.heldTensors).reduce(0) { $0 + $1.byteCount }
    if let quantization, !stored {
      for (path, module) in model.modules() {
        if let layer = module as? Linear, let dense = layer.projection as? DenseProjection,
          !quantization.skips(path)
        {
          codes.insert(dense.weight)
          total += quantization.format.byteCount(
            outputs: layer.outputSize, inputs: layer.inputSize)
        } else if quantization.quantizesEmbeddings, let layer = module as? Embedding,
          let dense = layer.table as? DenseTable
        {
          codes.insert(dense.weight)
          total += quantization.format.byteCount(
            outputs: layer.table.count, inputs: layer.table.size)
        }
      }
    }
    for (_, parameter) in model.parameters()
    where !codes.contains(parameter) && seen.insert(parameter).inserted {
      total += parameter.value.byteCount
    }
    return total
  }
}
