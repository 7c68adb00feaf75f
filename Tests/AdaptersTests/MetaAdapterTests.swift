import Adapters
import Layers
import Models
import TestSupport
import Tensors
import Testing

/// Adapters over shapes alone.
@Suite struct MetaAdapterTests {
  /// What begins with drawn numbers counts as over a base with weights, gives shapes, and is the same
  /// adapter once the weights are loaded; methods that may read weights are refused by name.
  @Test(arguments: ContractCases.all) func everyMethod(_ sample: ContractCase) throws {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory)
      let base = try AutoModelForCausalLM.fromPretrained(directory)
      let expected = try PeftModel(base, sample.configuration, seed: 5)
      let meta = try AutoModelForCausalLM.fromConfiguration(directory)
      let model: PeftModel<DecoderForCausalLM>
      do {
        model = try PeftModel(meta, sample.configuration, seed: 5)
      } catch {
        #expect(sample.configuration.readsBlocks && "\(error)".contains("load them first"))
        return
      }
      #expect(
        model.trainableParametersDescription() == expected.trainableParametersDescription())
      func layout(_ model: PeftModel<DecoderForCausalLM>) -> [String] {
        model.trainableParameters.map { "\($0.key) \($0.parameter.value.shape)" }
      }
      #expect(layout(model) == layout(expected) && !layout(model).isEmpty)
      #expect(model.trainableParameters.allSatisfy { $0.parameter.value.device == .meta })
      try model.loadBaseWeights { try $0.loadWeights(from: directory) }
      #expect(layout(model) == layout(expected))
      for ((key, own), (_, other)) in zip(model.trainableParameters, expected.trainableParameters) {
        #expect(own.value.device == .cpu && own.value.isEqual(to: other.value), "\(key)")
      }
      #expect(logits(meta).isEqual(to: logits(base)))
    }
  }

  /// An adapter from a file over shapes, its logits' shape, then the weights: as opened over the model.
  @Test func fromFile() throws {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory)
      let base = try AutoModelForCausalLM.fromPretrained(directory)
      let expected = try PeftModel(base, LoRAConfig(targetModules: .allLinear))
      disturb(expected)
      try expected.savePretrained(directory + "/adapter")
      let meta = try AutoModelForCausalLM.fromConfiguration(directory)
      let model = try PeftModel.fromPretrained(meta, directory + "/adapter")
      let ids = DecoderInput(ids: sixTokens.ids.to(device: .meta))
      #expect(withoutGradients { meta.logits(ids) }.shape == logits(base).shape)
      try model.loadBaseWeights { try $0.loadWeights(from: directory) }
      #expect(logits(meta).isEqual(to: logits(base)))
      #expect(model.trainableParameters.isEmpty)
      // A second time the weights only take the place of the first ones.
      try model.loadBaseWeights { try $0.loadWeights(from: directory) }
      #expect(logits(meta).isEqual(to: logits(base)))
    }
  }

  @Test func refusals() throws {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory)
      let base = try AutoModelForCausalLM.fromPretrained(directory)
      let merged = try PeftModel(base, LoRAConfig(targetModules: .allLinear))
      try merged.mergeAdapter()
      let error = #expect(throws: AdapterError.self) {
        try merged.loadBaseWeights { try $0.loadWeights(from: directory) }
      }
      #expect("\(error.map { "\($0)" } ?? "")".contains("merged"))
    }
  }
}
