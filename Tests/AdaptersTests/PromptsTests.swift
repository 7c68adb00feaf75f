import Adapters
import Checkpoints
import Foundation
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Virtual tokens: what the contract suite does not see.
@Suite struct PromptsTests {
  private let ids = sixIDs

  /// What makes the model one of Mistral's, which sees so far.
  private func windows(_ size: Int?) -> [String: JSON] {
    size.map { ["model_type": "mistral", "sliding_window": .integer($0)] } ?? [:]
  }

  private func text(_ ids: [Int]) -> PromptTuningConfig {
    PromptTuningConfig(
      virtualTokens: ids.count, text: "...", tokenIDs: ids, tokenizerName: "somewhere")
  }

  /// Virtual tokens that are a text's own embeddings, or keys and values, are that text.
  @Test func virtualTokensActAsTheTokensTheyStandFor() throws {
    let before = [10, 20, 30]
    for window in [nil, 4] {
      try withModel(configuration: windows(window)) { _, model in
        let expected = logits(model, before + ids).narrowed(1, 3..<9)
        let peft = try PeftModel(model, text(before))
        expectClose(logits(model, ids), expected, absolute: 1e-5)
        try peft.addAdapter("cartridge", CartridgeConfig(virtualTokens: 3))
        try peft.beginPrompt(asPrefixOf: before + [40], adapter: "cartridge")
        try peft.setAdapter(["cartridge"])
        expectClose(logits(model, ids), expected, absolute: 1e-5)
        try peft.addAdapter("prefix", PrefixTuningConfig(virtualTokens: 3))
        try peft.beginPrompt(asPrefixOf: before, adapter: "prefix")
        try peft.setAdapter(["prefix"])
        expectClose(logits(model, ids), expected, absolute: 1e-5)
      }
    }
  }

  /// A text is cut or repeated to the number of virtual tokens.
  @Test func textsAreCutOrRepeated() throws {
    for (given, used) in [([5, 6, 7, 8], [5, 6, 7]), ([5, 6], [5, 6, 5])] {
      try withModel { _, model in
        let table = model.tokenEmbeddings(Tensor(used, shape: [3]))
        let config = PromptTuningConfig(
          virtualTokens: 3, text: "...", tokenIDs: given, tokenizerName: "somewhere")
        let peft = try PeftModel(model, config)
        #expect(peft.adapterParameters()[0].parameter.value.detached().isEqual(to: table))
      }
    }
  }

  /// Behind embeddings the first label is asked too, and the sum is scaled to the usual count.
  @Test func theLossIsTheMeanOverAllThatIsAsked() throws {
    try withModel { _, model in
      _ = try PeftModel(model, text([10, 20]))
      let batch = DecoderInput(ids: row(ids))
      let labels = row(ids)
      let scores = Tensor.concatenated(
        [
          withoutGradients { () -> Tensor in
            let prompt = model.prompt
            model.prompt = nil
            defer { model.prompt = prompt }
            return model.logits(DecoderInput(ids: row([10, 20] + ids)))
          }.narrowed(1, 1..<7)
        ], dimension: 1)
      let expected =
        (scores.logSumExp(-1, keepDimension: true) - scores.gathered(2, labels.unsqueezed(2)))
        .mean().item()
      let count = Double(DecoderForCausalLM.targetCount(of: labels))
      #expect(count == 5)
      let found = withoutGradients { model.summedLoss(batch, labels: labels).item() } / count
      #expect(abs(found - expected) < 1e-5)
    }
  }

  /// Documents of a packed row each see the prompt and nothing of each other, within a window too.
  @Test func packedRows() throws {
    for window in [nil, 5] {
      for config: any AdapterConfiguration in [
        PromptTuningConfig(virtualTokens: 3), PrefixTuningConfig(virtualTokens: 3),
      ] {
        try withModel(configuration: windows(window)) { _, model in
          _ = try PeftModel(model, config)
          let (one, two) = (ids, [90, 91, 92, 93])
          let packed = withoutGradients {
            model.logits(
              DecoderInput(
                ids: row(one + two), positions: row([0, 1, 2, 3, 4, 5, 0, 1, 2, 3]),
                sequenceIDs: row([1, 1, 1, 1, 1, 1, 2, 2, 2, 2])))
          }
          expectClose(packed.narrowed(1, 0..<6), logits(model, one), absolute: 1e-5)
          expectClose(packed.narrowed(1, 6..<10), logits(model, two), absolute: 1e-5)
        }
      }
    }
  }

  private static let generating: [any AdapterConfiguration] = [
    PromptTuningConfig(virtualTokens: 4), PrefixTuningConfig(virtualTokens: 4),
    PromptEncoderConfig(virtualTokens: 4, encoder: .lstm),
    MultitaskPromptTuningConfig(virtualTokens: 4, tasks: 2),
    CPTConfig(tokenIDs: [65, 66, 67, 68], tokenTypes: [1, 2, 3, 4]),
    CartridgeConfig(virtualTokens: 4), AdaptionPromptConfig(length: 4, layers: 2),
    TrainableTokensConfig(tokenIndices: [3, 200]),
  ]

  /// With the cache it is what comes without it, and a row of a padded batch is what it is alone.
  @Test(arguments: generating.indices) func generation(_ index: Int) throws {
    try withModel { _, model in
      let peft = try PeftModel(model, Self.generating[index])
      withoutGradients {
        for (_, parameter) in peft.trainableParameters {
          let noise = Tensor.randomNormal(parameter.value.shape, generator: Generator(seed: 4))
          _ = parameter.value.addInPlace(noise, scale: 0.5)
        }
      }
      let prompts = [ids, [9], [200, 3]]
      let together = try model.generate(prompts: prompts, maximumNewTokens: 8, endOfTextIDs: [])
      for (prompt, found) in zip(prompts, together) {
        var row = prompt
        for _ in 0..<8 {
          row.append(Int(logits(model, row).selected(1, row.count - 1).indexOfMaximum().item()))
        }
        #expect(found == Array(row.dropFirst(prompt.count)))
      }
      #expect(model.prompt == nil || model.prompt?.length == 4)
    }
  }

  @Test func virtualTokensCountTowardsTheLimit() throws {
    try withModel { _, model in
      _ = try PeftModel(model, PromptTuningConfig(virtualTokens: 5))
      let long = (0..<120).map { $0 }
      #expect(
        try model.generate(prompts: [long], maximumNewTokens: 9, endOfTextIDs: [])[0].count == 3)
      expectRefusal("124 tokens and 5 virtual ones are more than the model's limit of 128") {
        try model.generate(
          prompts: [Array(0..<124)], maximumNewTokens: 9, endOfTextIDs: [])
      }
      expectRefusal("num_virtual_tokens is 128, expected less than the model's limit of 128") {
        try PeftModel(model, PromptTuningConfig(virtualTokens: 128))
      }
    }
  }

  @Test func onlyOnePromptActs() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, PromptTuningConfig(virtualTokens: 2))
      try peft.addAdapter("other", PrefixTuningConfig(virtualTokens: 3))
      let first = logits(model, ids)
      expectRefusal("default and other both put virtual tokens") {
        try peft.setAdapter(["default", "other"])
      }
      #expect(logits(model, ids).isEqual(to: first))
      // Beside layers of another method it acts; those can be merged under it.
      var lora = LoRAConfig(targetModules: .allLinear)
      lora.initialization = .random
      try peft.addAdapter("lora", lora)
      try peft.setAdapter(["default", "lora"])
      let both = logits(model, ids)
      #expect(!both.isEqual(to: first))
      #expect(throws: AdapterError.self) { try peft.mergeAdapter() }
      try peft.mergeAdapter(["lora"])
      expectClose(logits(model, ids), both, absolute: 1e-5)
      #expect(model.prompt?.length == 2)
      peft.unmergeAdapter()
      try peft.deleteAdapter("default")
      #expect(model.prompt == nil)
    }
  }

  @Test func encodersAreSavedBesidePEFTsFile() throws {
    let configs: [any AdapterConfiguration] = [
      PromptEncoderConfig(virtualTokens: 3), PromptEncoderConfig(virtualTokens: 3, encoder: .lstm),
      PrefixTuningConfig(virtualTokens: 3, projection: true),
    ]
    for config in configs {
      try withModel { directory, model in
        let peft = try PeftModel(model, config)
        let expected = logits(model, ids)
        let path = directory + "/adapter"
        try peft.savePretrained(path)
        let encoder = path + "/adapter_encoder.safetensors"
        let names = try SafetensorsFile(path: path + "/adapter_model.safetensors").entries
        #expect(names.map(\.name) == ["prompt_embeddings"])
        let kept = try Data(contentsOf: URL(fileURLWithPath: encoder))

        // Without it the virtual tokens are what they are.
        try FileManager.default.removeItem(atPath: encoder)
        let fixed = try AutoModelForCausalLM.fromPretrained(directory)
        let opened = try PeftModel.fromPretrained(fixed, path)
        #expect(logits(fixed, ids).isEqual(to: expected))
        #expect(opened.trainableParameters.isEmpty)
        #expect(opened.trainableParametersDescription().hasPrefix("trainable params: 0 ||"))
        expectRefusal("cannot be trained further without adapter_encoder.safetensors") {
          try opened.setAdapter(["default"], trainable: true)
        }
        #expect(throws: AdapterError.self) {
          try PeftModel.fromPretrained(
            try AutoModelForCausalLM.fromPretrained(directory), path, trainable: true)
        }
        try opened.savePretrained(directory + "/again")
        #expect(
          !FileManager.default.fileExists(atPath: directory + "/again/adapter_encoder.safetensors"))

        // Another one's encoder is noticed.
        withoutGradients {
          _ = peft.trainableParameters[0].parameter.value.addInPlace(1)
        }
        try peft.savePretrained(directory + "/other")
        try FileManager.default.removeItem(
          atPath: directory + "/other/adapter_encoder.safetensors")
        try kept.write(
          to: URL(fileURLWithPath: directory + "/other/adapter_encoder.safetensors"))
        expectRefusal("does not give the virtual tokens of adapter_model.safetensors") {
          try PeftModel.fromPretrained(
            try AutoModelForCausalLM.fromPretrained(directory), directory + "/other")
        }
      }
    }
  }

  /// A module that is trained whole is a copy of the base's, also while another adapter's acts.
  @Test func modulesToSaveBesideVirtualTokens() throws {
    try withModel { directory, model in
      let plain = logits(model, ids)
      var config = PromptTuningConfig(virtualTokens: 2)
      config.modulesToSave = ["model.norm"]
      let peft = try PeftModel(model, config)
      #expect(
        peft.adapterParameters().map(\.key) == [
          "prompt_embeddings", "base_model.model.norm.weight",
        ])
      withoutGradients {
        for (_, parameter) in peft.trainableParameters { _ = parameter.value.addInPlace(0.3) }
      }
      let adapted = logits(model, ids)
      try peft.addAdapter("other", config)
      #expect(logits(model, ids).isEqual(to: adapted))
      try peft.savePretrained(directory + "/adapter")
      let again = try AutoModelForCausalLM.fromPretrained(directory)
      _ = try PeftModel.fromPretrained(again, directory + "/adapter")
      #expect(logits(again, ids).isEqual(to: adapted))
      try peft.deleteAdapter("default")
      try peft.setAdapter(["other"])
      try peft.deleteAdapter("other")
      #expect(logits(model, ids).isEqual(to: plain))
    }
  }

  @Test func seedsGiveTheSameVirtualTokens() throws {
    for initialization in [PromptTuningConfig.Initialization.random, .vocabulary] {
      var made: [[Float]] = []
      for seed: UInt64 in [3, 3, 4] {
        try withModel { _, model in
          let peft = try PeftModel(
            model, PromptTuningConfig(virtualTokens: 4, initialization: initialization), seed: seed)
          made.append(peft.adapterParameters()[0].parameter.value.array(of: Float.self))
        }
      }
      #expect(made[0] == made[1] && made[0] != made[2])
    }
  }

  /// One behind the other, with the first one's tokens that are not trained.
  @Test func composedCartridges() throws {
    try withModel { directory, model in
      let sizes = [3, 2, 4]
      var expected: [Tensor] = []
      let peft = try PeftModel(model, CartridgeConfig(virtualTokens: 3, frozenTokens: 2))
      for (index, size) in sizes.enumerated() {
        let name = "part\(index)"
        try peft.addAdapter(
          name, CartridgeConfig(virtualTokens: size, frozenTokens: index == 0 ? 2 : 1),
          seed: UInt64(index))
        try peft.savePretrained("\(directory)/\(name)", adapter: name)
        expected.append(
          try #require(try peft.stateDictionary(name).first { $0.key == "prompt_embeddings" })
            .tensor)
      }
      let parts = sizes.indices.map { "\(directory)/part\($0)" }
      try composeCartridgeAdapters(parts, to: directory + "/whole")
      let fresh = try AutoModelForCausalLM.fromPretrained(directory)
      let opened = try PeftModel.fromPretrained(fresh, directory + "/whole", trainable: true)
      let found = try opened.stateDictionary()
      #expect(found.map(\.key) == ["prompt_embeddings"])
      #expect(found[0].tensor.isEqual(to: Tensor.concatenated(expected)))
      #expect(opened.adapterParameters().map { $0.parameter.value.size(0) } == [2, 7])
      #expect(fresh.prompt?.length == 9)

      try peft.addAdapter("prefix", PrefixTuningConfig(virtualTokens: 2))
      try peft.savePretrained(directory + "/prefix", adapter: "prefix")
      for (given, message) in [
        ([parts[0]], "cartridges to compose is 1, expected at least 2"),
        ([parts[0], directory + "/prefix"], "peft_type is PREFIX_TUNING, expected CARTRIDGE"),
      ] {
        expectRefusal(message) {
          try composeCartridgeAdapters(given, to: directory + "/none")
        }
      }
      #expect(!FileManager.default.fileExists(atPath: directory + "/none"))
    }
  }

  @Test func frozenTokensOfACartridgeStay() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, CartridgeConfig(virtualTokens: 5, frozenTokens: 2))
      let all = peft.adapterParameters()
      #expect(all.map(\.key) == ["frozen_embedding", "trainable_embedding"])
      #expect(all.map { $0.parameter.value.shape } == [[2, 32], [3, 32]])
      #expect(peft.trainableParameters.map(\.key) == ["trainable_embedding"])
      model.summedLoss(DecoderInput(ids: row(ids)), labels: row(ids)).backward()
      #expect(all[0].parameter.value.gradient == nil && all[1].parameter.value.gradient != nil)
    }
  }

  @Test func refusedValues() throws {
    func prompt(_ change: (inout PromptTuningConfig) -> Void) -> PromptTuningConfig {
      var config = PromptTuningConfig(virtualTokens: 3)
      change(&config)
      return config
    }
    var multitask = MultitaskPromptTuningConfig(virtualTokens: 3, tasks: 2)
    multitask.initialization = .oneSource
    var pickled = MultitaskPromptTuningConfig(virtualTokens: 3)
    pickled.initialization = .sharedSource
    pickled.sourcePath = "adapter_model.bin"
    var lengths = CPTConfig(tokenIDs: [1, 2], tokenTypes: [1])
    var task = CPTConfig(tokenIDs: [1, 2], tokenTypes: [1, 2])
    task.taskType = "SEQ_CLS"
    lengths.mask = [1, 1]
    var dropping = PromptEncoderConfig(virtualTokens: 2)
    dropping.encoderDropout = 1
    let cases: [(any AdapterConfiguration, String)] = [
      (PromptTuningConfig(), "num_virtual_tokens is none, expected a positive number"),
      (PrefixTuningConfig(virtualTokens: 0), "num_virtual_tokens is 0, expected a positive"),
      (prompt { $0.settings.submoduleCount = 2 }, "num_transformer_submodules is 2, expected 1"),
      (prompt { $0.settings.tokenSize = 17 }, "token_dim is 17, expected 16, the model's hidden"),
      (prompt { $0.initialization = .text }, "prompt_tuning_init_text is none, expected a text"),
      (
        prompt {
          $0.initialization = .text
          $0.text = "x"
        }, "tokenizer_name_or_path is none"
      ),
      (
        prompt {
          $0.initialization = .text
          $0.text = "x"
          $0.tokenizerName = "y"
        }, "prompt_tuning_init_text is none, expected its token ids in initialTokenIDs"
      ),
      (prompt { $0.tokenizerOptions = ["a": 1] }, "tokenizer_kwargs is {\"a\": 1}"),
      (text([1, 260]), "is 260, expected token ids below 260"),
      (PromptEncoderConfig(virtualTokens: 3, encoderSize: 0), "encoder_hidden_size is 0"),
      (dropping, "encoder_dropout is 1.0, expected at least 0 and below 1"),
      (multitask, "prompt_tuning_init_state_dict_path is none"),
      (pickled, "is adapter_model.bin, expected a safetensors file"),
      (MultitaskPromptTuningConfig(virtualTokens: 3, ranks: 0), "num_ranks is 0"),
      (lengths, "cpt_tokens_type_mask is 1 numbers, expected 2 numbers"),
      (task, "task_type is SEQ_CLS, expected CAUSAL_LM"),
      (CPTConfig(tokenIDs: [1, 260], tokenTypes: [1, 1]), "cpt_token_ids is 260"),
      (CPTConfig(tokenIDs: [1], tokenTypes: [-1]), "cpt_tokens_type_mask is -1"),
      (CartridgeConfig(virtualTokens: 3, frozenTokens: 4), "num_frozen_tokens is 4, expected 0 to"),
      (AdaptionPromptConfig(), "adapter_len is none"),
      (AdaptionPromptConfig(length: 3, layers: 3), "adapter_layers is 3, expected at most 2"),
      (TrainableTokensConfig(), "token_indices is none, expected at least one token"),
      (TrainableTokensConfig(tokenIndices: [3, -1]), "token_indices is -1"),
      (TrainableTokensConfig(tokenIndices: [3, 4, 3]), "token_indices is 3 twice"),
      (TrainableTokensConfig(tokenIndices: [260]), "is 260, expected numbers below 260"),
    ]
    for (config, message) in cases {
      try expectRefusal(config, message)
    }
  }
}
