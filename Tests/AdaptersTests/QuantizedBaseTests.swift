import Adapters
import Layers
import Models
import Quantization
import Tensors
import TestSupport
import Testing

/// What every adapter method must do on a quantised base: identity at the start, gradients of the
/// adapter alone, merging, files.
@Suite struct QuantizedBaseTests {
  static let formats: [WeightFormat] = [
    .int8(threshold: 6), .fourBit(.nf4, blockSize: 64, doubleQuantization: true),
    .fourBit(.fp4, blockSize: 64, doubleQuantization: false),
  ]
  private let batch = sixTokens
  private let labels = sixTokens.ids

  private func random(_ config: LoRAConfig = LoRAConfig(targetModules: .allLinear)) -> LoRAConfig {
    var config = config
    config.initialization = .random
    return config
  }

  @Test(arguments: formats) func identityAndCounts(_ format: WeightFormat) throws {
    try withModel(quantization: QuantizationOptions(format)) { directory, model in
      let plain = model.logits(batch)
      let peft = try PeftModel(model, LoRAConfig(targetModules: .allLinear))
      #expect(model.logits(batch).isEqual(to: plain))
      let dense = try PeftModel(
        AutoModelForCausalLM.fromPretrained(directory), LoRAConfig(targetModules: .allLinear))
      #expect(
        peft.trainableParametersDescription() == dense.trainableParametersDescription())
      #expect(try peft.unload().logits(batch).isEqual(to: plain))
    }
  }

  /// The gradients are those of the same adapter on the dequantised base; with whole-number
  /// activations only nearly.
  @Test(arguments: formats) func gradients(_ format: WeightFormat) throws {
    try withModel(quantization: QuantizationOptions(format)) { _, model in
      let peft = try PeftModel(model, random())
      let loss = model.summedLoss(batch, labels: labels)
      loss.backward()
      let found = peft.trainableParameters.map { $0.parameter.value.gradient }
      #expect(found.allSatisfy { $0 != nil })
      for (path, parameter) in model.parameters() where !path.contains("lora_") {
        #expect(parameter.value.gradient == nil, "\(path)")
      }
      for (_, parameter) in peft.trainableParameters { parameter.value.gradient = nil }
      // The base alone: adapters stay where they are.
      for (_, module) in model.modules() {
        if let layer = module as? Linear, let base = layer.children.first?.module {
          #expect(base.storedCount > 0)
        }
      }
      let still = withoutGradients { model.summedLoss(batch, labels: labels) }
      #expect(still.isEqual(to: loss.detached()))
      // The same with blocks computed again.
      model.model.checkpointsActivations = true
      model.summedLoss(batch, labels: labels).backward()
      for (gradient, (_, parameter)) in zip(found, peft.trainableParameters) {
        expectClose(
          try #require(parameter.value.gradient), try #require(gradient), absolute: 1e-5)
      }
    }
  }

  /// A few steps make the loss fall.
  @Test(arguments: formats) func trains(_ format: WeightFormat) throws {
    try withModel(quantization: QuantizationOptions(format)) { _, model in
      let peft = try PeftModel(model, LoRAConfig(targetModules: .allLinear))
      func loss() -> Tensor { model.summedLoss(batch, labels: labels) / 5.0 }
      let start = loss().item()
      for _ in 0..<30 {
        loss().backward()
        withoutGradients {
          for (_, parameter) in peft.trainableParameters {
            guard let gradient = parameter.value.gradient else { continue }
            parameter.value.addInPlace(gradient.sign(), scale: -5e-3)
            parameter.value.gradient = nil
          }
        }
      }
      #expect(loss().item() < 0.7 * start)
    }
  }

  @Test(arguments: formats) func mergesIntoNumbersOrAnew(_ format: WeightFormat) throws {
    for requantizing in [false, true] {
      try withModel(quantization: QuantizationOptions(format)) { _, model in
        let peft = try PeftModel(model, random())
        let adapted = model.logits(batch)
        let merged = try peft.mergeAndUnload(safely: true, requantizing: requantizing)
        let layers = merged.modules().compactMap { $0.module as? Linear }.dropLast()
        #expect(layers.allSatisfy { ($0.projection is DenseProjection) != requantizing })
        let error = ((merged.logits(batch) - adapted).norm() / adapted.norm()).item()
        // Numbers hold the update to the last digits (int8's activations are still rounded while the
        // adapter is apart); quantised anew it is rounded as the base was.
        let limit = requantizing ? 0.35 : format.name == "int8" ? 0.05 : 1e-5
        #expect(error < limit, "\(format.name) \(requantizing): \(error)")
      }
    }
  }

  @Test(arguments: formats) func files(_ format: WeightFormat) throws {
    try withModel(quantization: QuantizationOptions(format)) { directory, model in
      let peft = try PeftModel(model, random())
      let adapted = model.logits(batch)
      try peft.savePretrained(directory + "/adapter")
      let again = try AutoModelForCausalLM.fromPretrained(
        directory, quantization: QuantizationOptions(format))
      _ = try PeftModel.fromPretrained(again, directory + "/adapter")
      #expect(again.logits(batch).isEqual(to: adapted))
    }
  }

  @Test func quantisedModulesAreNotTrainedWhole() throws {
    try withModel(quantization: QuantizationOptions(Self.formats[0])) { _, model in
      var config = LoRAConfig(targetModules: .names(["q_proj"]))
      config.modulesToSave = ["down_proj"]
      #expect(throws: AdapterError.self) { try PeftModel(model, config) }
    }
  }
}
