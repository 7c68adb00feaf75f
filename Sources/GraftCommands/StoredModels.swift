import Models
import Quantization
import Tensors

/// Opens models of which directories can be written.
enum StoredModels {
  /// Opens a model directory, whichever of the kinds it is.
  ///
  /// - Parameters:
  ///   - directory: A Hugging Face directory.
  ///   - dtype: Type to compute in; nil for the checkpoint's own.
  ///   - quantization: How linear layers are quantised as they are read; nil for not at all.
  /// - Returns: The model.
  /// - Throws: What opening it throws.
  static func open(
    _ directory: String, dtype: DType?, quantization: QuantizationOptions? = nil
  ) throws -> any StoredModel {
    try AutoModelForSeq2SeqLM.isKind(of: directory)
      ? try AutoModelForSeq2SeqLM.fromPretrained(
        directory, dtype: dtype, quantization: quantization)
      : try AutoModelForCausalLM.fromPretrained(
        directory, dtype: dtype, quantization: quantization)
  }
}
