import Adapters
import Checkpoints
import JSONValues
import Layers
import Models
import Quantization
import TestSupport
import Tensors
import Testing

/// Six tokens of ``TinyModel``.
let sixIDs = [7, 3, 200, 41, 9, 77]

/// The same as a batch of one row.
var sixTokens: DecoderInput { DecoderInput(ids: row(sixIDs)) }

/// Ids as a batch of one row, `[1, length]`.
func row(_ ids: [Int]) -> Tensor { Tensor(ids, shape: [1, ids.count]) }

/// Runs `body` with a tiny model and its directory, in which other files may be put.
///
/// `configuration` has fields of `config.json` that are to be others than ``TinyModel`` writes.
func withModel(
  _ tiny: TinyModel = TinyModel(), configuration: [String: JSON] = [:], dtype: DType = .float32,
  quantization: QuantizationOptions? = nil,
  _ body: (_ directory: String, _ model: DecoderForCausalLM) throws -> Void
) throws {
  try withTemporaryDirectory { directory in
    try tiny.write(to: directory)
    if !configuration.isEmpty {
      var object = try #require(tiny.configuration.objectValue)
      for (key, value) in configuration { object[key] = value }
      try AtomicFile.write(
        path: directory + "/config.json", text: JSON.object(object).serialized())
    }
    try body(
      directory,
      try AutoModelForCausalLM.fromPretrained(
        directory, dtype: dtype, quantization: quantization))
  }
}

/// A tiny model whose directory is gone.
func tinyModel(
  _ tiny: TinyModel = TinyModel(), dtype: DType = .float32
) throws -> DecoderForCausalLM {
  try withTemporaryDirectory { directory in
    try tiny.write(to: directory)
    return try AutoModelForCausalLM.fromPretrained(directory, dtype: dtype)
  }
}

/// Scores of a batch, ``sixTokens`` when nothing is said.
func logits(_ model: DecoderForCausalLM, _ batch: DecoderInput = sixTokens) -> Tensor {
  withoutGradients { model.logits(batch) }
}

/// Scores of one row of ids.
func logits(_ model: DecoderForCausalLM, _ ids: [Int]) -> Tensor {
  logits(model, DecoderInput(ids: row(ids)))
}

/// Moves what is trained, so that an adapter that does nothing shows.
func disturb(_ peft: PeftModel<DecoderForCausalLM>, scale: Double = 0.1) {
  let generator = Generator(seed: 9)
  withoutGradients {
    for (_, parameter) in peft.trainableParameters {
      let noise = Tensor.randomNormal(parameter.value.shape, generator: generator)
      parameter.value.addInPlace(noise.to(parameter.value.dtype), scale: scale)
    }
  }
}

/// Expects a configuration to be refused with a message that has some parts, and the model to stay what
/// it was.
func expectRefusal(
  _ configuration: any AdapterConfiguration, _ parts: String..., in tiny: TinyModel = TinyModel(),
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  try withModel(tiny) { _, model in
    let plain = logits(model)
    expectRefusal(parts: parts, sourceLocation: sourceLocation) {
      try PeftModel(model, configuration)
    }
    #expect(logits(model).isEqual(to: plain), sourceLocation: sourceLocation)
  }
}

/// A model of one layer.
final class OneLayer<Layer: Module>: Module {
  let layer: Layer
  private let name: String

  init(_ layer: Layer, named name: String = "layer") { (self.layer, self.name) = (layer, name) }

  var children: [(name: String, module: any Module)] { [(name, layer)] }
}

/// Checks that an adapter's directory holds what PEFT's own holds: tensors key by key and number by
/// number, and every field of the configuration but the version and the Python class of the base, which
/// PEFT notes where there is no task.
func expectSameFiles(_ copy: String, _ directory: String) throws {
  let (old, new) = (
    try Goldens(directory + "/adapter_model.safetensors").tensors(prefix: ""),
    try Goldens(copy + "/adapter_model.safetensors").tensors(prefix: "")
  )
  #expect(Set(old.keys) == Set(new.keys))
  for (key, tensor) in old { #expect(new[key]?.isEqual(to: tensor) == true, "\(key)") }
  let (before, after) = (
    try JSON.read(path: directory + "/adapter_config.json"),
    try JSON.read(path: copy + "/adapter_config.json")
  )
  for (key, value) in before.objectValue ?? JSONObject()
  where key != "peft_version" && key != "auto_mapping" {
    if key == "target_modules" || key == "exclude_modules", let names = value.arrayValue {
      let other = after[key]?.arrayValue ?? []
      #expect(
        Set(names.map { $0.serialized() }) == Set(other.map { $0.serialized() }), "\(key)")
    } else {
      #expect(after[key] == value, "\(key)")
    }
  }
}
