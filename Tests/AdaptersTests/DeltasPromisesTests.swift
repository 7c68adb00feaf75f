import Adapters
import Checkpoints
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Places, shared tensors, several adapters together and what is refused.
@Suite struct DeltasPromisesTests {
  private let batch = sixTokens
  private let query = "base_model.model.model.layers.0.self_attn.q_proj."

  private func tensor(_ peft: PeftModel<DecoderForCausalLM>, _ key: String) throws -> Tensor {
    try #require(peft.adapterParameters().first { $0.key == key }).parameter.value
  }

  /// The places that PEFT 0.21.2 saves for a layer of 16 x 16, without a seed and with 5.
  @Test func shiraPlacesAreThoseOfTorch() throws {
    let wanted: [(Int?, [Int])] = [
      (
        nil,
        [
          10, 11, 41, 44, 45, 48, 60, 63, 74, 83, 87, 104, 116, 118, 126, 128, 135, 161, 167, 174,
          176, 180, 181, 190, 200, 208, 221, 227, 229, 242, 243, 253,
        ]
      ),
      (
        5,
        [
          11, 19, 23, 27, 28, 48, 54, 55, 56, 57, 66, 70, 95, 98, 99, 112, 113, 121, 129, 133, 134,
          135, 136, 138, 161, 171, 180, 187, 199, 210, 228, 244,
        ]
      ),
    ]
    for (seed, places) in wanted {
      try withModel { _, model in
        var config = ShiraConfig()
        (config.rank, config.randomSeed) = (1, seed)
        config.targetModules = .names(["q_proj", "o_proj"])
        let peft = try PeftModel(model, config, seed: 99)
        for name in ["self_attn.q_proj", "self_attn.o_proj"] {
          let indices = try tensor(peft, "base_model.model.model.layers.1.\(name).shira_indices")
          #expect(indices.dtype == .int32)
          let flat = indices.array(of: Int.self)
          #expect(zip(flat.prefix(32), flat.suffix(32)).map { $0 * 16 + $1 } == places)
        }
      }
    }
  }

  @Test func superTuningTakesTheLargestOrTheSmallest() throws {
    for largest in [true, false] {
      try withModel { _, model in
        let weight = try #require(
          model.parameters().first { $0.path == "model.layers.0.self_attn.q_proj.weight" })
        let sizes = weight.parameter.value.absolute().array(of: Double.self)
        var config = SuperTuningConfig()
        (config.sparsity, config.selectsLargest) = (0.9, largest)
        config.targetModules = .names(["q_proj"])
        let peft = try PeftModel(model, config)
        let places = try tensor(peft, query + "supertuning_indices").array(of: Int.self)
        #expect(places.count == 25)
        let order = sizes.indices.sorted { (sizes[$0] > sizes[$1]) == largest }
        #expect(Set(places) == Set(order.prefix(25)))
      }
    }
  }

  /// A file's places may lie outside of the weight.
  @Test func wrongPlacesAreRefused() throws {
    var shira = ShiraConfig()
    (shira.rank, shira.targetModules) = (1, .names(["q_proj"]))
    var tuning = SuperTuningConfig()
    (tuning.sparsity, tuning.targetModules) = (0.9, .names(["q_proj"]))
    let cases: [(any AdapterConfiguration, String, Int32)] = [
      (shira, "shira_indices", 16), (shira, "shira_indices", -1),
      (tuning, "supertuning_indices", 256),
    ]
    for (config, name, wrong) in cases {
      try withModel { directory, model in
        let peft = try PeftModel(model, config)
        let indices = try #require(
          peft.adapterParameters().first { $0.key == query + name }
        ).parameter
        indices.value = Tensor.full(indices.value.shape, Double(wrong), dtype: .int32)
        try peft.savePretrained(directory + "/adapter")
        let other = try AutoModelForCausalLM.fromPretrained(directory)
        expectRefusal("\(name) of model.layers.0.self_attn.q_proj is \(wrong), expected 0 ..<") {
          try PeftModel.fromPretrained(other, directory + "/adapter")
        }
      }
    }
  }

  /// A mask that was made elsewhere can be opened, with its places from the file, but not made.
  @Test func masksOfOthersAreOpened() throws {
    try withModel { directory, model in
      var config = ShiraConfig()
      (config.rank, config.targetModules, config.startsAtIdentity) = (1, .names(["q_proj"]), false)
      let peft = try PeftModel(model, config)
      let indices = try #require(
        peft.adapterParameters().first { $0.key == query + "shira_indices" }
      ).parameter
      indices.value = Tensor((0..<64).map { Int32($0 % 16) }, shape: [2, 32])
      let adapted = logits(model)
      try peft.savePretrained(directory + "/adapter")
      config.maskType = "mine"
      let path = directory + "/adapter/adapter_config.json"
      try AtomicFile.write(path: path, text: config.json.serialized())
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      _ = try PeftModel.fromPretrained(other, directory + "/adapter")
      #expect(logits(other).isEqual(to: adapted))
      #expect(throws: AdapterError.self) {
        try PeftModel(try AutoModelForCausalLM.fromPretrained(directory), config)
      }
    }
  }

  /// Layers of one name share the experts, and two in a row share A; files have all of them.
  @Test func lilyShares() throws {
    try withModel(TinyModel { $0.layerCount = 3 }) { directory, model in
      var config = LilyConfig()
      (config.rank, config.stride, config.expertCount) = (2, 2, 3)
      config.targetModules = .names(["q_proj", "o_proj"])
      let peft = try PeftModel(model, config)
      let parameters = Dictionary(
        uniqueKeysWithValues: peft.adapterParameters().map { ($0.key, $0.parameter) })
      func own(_ layer: Int, _ name: String, _ part: String) throws -> Parameter {
        try #require(
          parameters["base_model.model.model.layers.\(layer).self_attn.\(name).lily_\(part).weight"]
        )
      }
      #expect(parameters.count == 2 * 3 * 3)
      for name in ["q_proj", "o_proj"] {
        #expect(try own(0, name, "A") == own(1, name, "A"))
        #expect(try own(0, name, "A") != own(2, name, "A"))
        #expect(try own(0, name, "B") == own(2, name, "B"))
        #expect(try own(0, name, "router") != own(1, name, "router"))
      }
      #expect(try own(0, "q_proj", "A") != own(0, "o_proj", "A"))
      #expect(try own(0, "q_proj", "B") != own(0, "o_proj", "B"))
      // Each once: two As, one B and three routers for each name.
      #expect(peft.trainableParameters.count == 2 * (2 + 1 + 3))
      try peft.savePretrained(directory + "/adapter")
      let file = try SafetensorsFile(path: directory + "/adapter/adapter_model.safetensors")
      #expect(file.entries.count == 18)
    }
  }

  /// One mixture of experts for the batch: the same row gets another result beside another.
  @Test func lilyMixesForTheBatch() throws {
    try withModel { _, model in
      var config = LilyConfig()
      (config.rank, config.startsAtIdentity) = (4, false)
      config.targetModules = .names(["q_proj"])
      _ = try PeftModel(model, config)
      let two = DecoderInput(
        ids: Tensor([7, 3, 200, 41, 9, 77, 1, 1, 2, 250, 90, 5], shape: [2, 6]))
      let beside = withoutGradients { model.logits(two).narrowed(0, 0..<1) }
      let difference = (beside - logits(model)).absolute().max().item()
      #expect(difference > 1e-7)
    }
  }

  private func config<Configuration: LayerConfiguration>(
    _ change: (inout Configuration) -> Void
  ) -> Configuration {
    var made = Configuration()
    made.targetModules = .names(["q_proj", "down_proj"])
    change(&made)
    return made
  }

  /// Several that act add up, whatever they are; merged in either order or one by one it is the same.
  @Test func severalAddUp() throws {
    let pairs: [(any AdapterConfiguration, any AdapterConfiguration)] = [
      (
        config { (own: inout C3AConfig) in own.blockSize = 8 },
        config { (own: inout C3AConfig) in own.blockSize = 4 }
      ),
      (
        config { (own: inout MissConfig) in (own.rank, own.variant) = (5, .random) },
        config { (own: inout MissConfig) in (own.rank, own.variant) = (4, .mini) }
      ),
      (
        config { (own: inout MissConfig) in (own.rank, own.variant) = (4, .bat) },
        config { (own: inout MissConfig) in (own.rank, own.variant) = (8, .bat) }
      ),
      (
        config { (own: inout HiraConfig) in (own.rank, own.initialization) = (4, .random) },
        config { (own: inout HiraConfig) in (own.rank, own.initialization) = (2, .random) }
      ),
      (
        config { (own: inout PeanutConfig) in own.startsAtIdentity = false },
        config { (own: inout PeanutConfig) in (own.depth, own.startsAtIdentity) = (1, false) }
      ),
    ]
    for (first, second) in pairs {
      try withModel { _, model in
        let plain = model.parameters().map { ($0.path, $0.parameter.value.cloned()) }
        let peft = try PeftModel(model, first)
        try peft.addAdapter("other", second, seed: 3)
        let generator = Generator(seed: 2)
        for (_, parameter) in peft.adapterParameters() + peft.adapterParameters("other") {
          let noise = Tensor.randomNormal(parameter.value.shape, generator: generator)
          parameter.value = parameter.value.detached() + noise * 0.1
        }
        func delta(_ names: [String]) throws -> Tensor {
          try peft.setAdapter([])
          peft.unmergeAdapter()
          for name in names { try peft.mergeAdapter([name]) }
          let path = "model.layers.1.mlp.down_proj"
          let layer = try #require(model.modules().first { $0.path == path }?.module as? Linear)
          let before = try #require(plain.first { $0.0 == path + ".weight" }).1
          return layer.projection.denseWeight() - before
        }
        let sum = try delta(["default"]) + delta(["other"])
        let size = sum.absolute().max().item()
        #expect(size > 1e-3)
        expectClose(try delta(["default", "other"]), sum, absolute: 1e-6 * max(1, size))
        expectClose(try delta(["other", "default"]), sum, absolute: 1e-6 * max(1, size))
        let merged = logits(model)
        peft.unmergeAdapter()
        try peft.setAdapter(["default", "other"])
        expectClose(logits(model), merged, absolute: 1e-5)
        // One merged, the other beside it.
        try peft.mergeAdapter(["other"])
        expectClose(logits(model), merged, absolute: 1e-5)
      }
    }
  }

  /// Derivatives of the layers below go through C3A's own with respect to its input, which PEFT has wrong.
  @Test func c3aDerivativesAreDifferences() throws {
    try withModel(dtype: .float64) { _, model in
      let peft = try PeftModel(model, config { (own: inout C3AConfig) in own.blockSize = 8 })
      let weights = Tensor.randomNormal(
        [1, 6, 260], dtype: .float64, generator: Generator(seed: 4))
      func value() -> Tensor { (model.logits(batch) * weights).sum() }
      value().backward()
      let kernel = try #require(
        peft.trainableParameters.first { $0.key == query + "c3a_kernel" }
      ).parameter
      let gradient = try #require(kernel.value.gradient).array(of: Double.self)
      for index in [0, 3, 9, 31] {
        func moved(_ shift: Double) -> Double {
          withoutGradients {
            let place = Tensor([index])
            let change = Tensor([shift])
            kernel.value.reshaped([-1]).addInPlace(0, at: place, change)
            defer { kernel.value.reshaped([-1]).addInPlace(0, at: place, change * -1) }
            return value().item()
          }
        }
        let slope = (moved(1e-4) - moved(-1e-4)) / 2e-4
        #expect(abs(slope - gradient[index]) < 1e-7 + 1e-5 * abs(slope))
      }
    }
  }

  /// PEFT's first adapter ignores the pattern, so that its file has another rank than it says.
  @Test func hiraReadsTheRankOfAFile() throws {
    try withModel { directory, model in
      var made: HiraConfig = config { (own: inout HiraConfig) in
        (own.rank, own.initialization) = (3, .random)
      }
      let peft = try PeftModel(model, made)
      let adapted = logits(model)
      try peft.savePretrained(directory + "/adapter")
      made.rankPattern = [PathPattern("q_proj", 2)]
      let path = directory + "/adapter/adapter_config.json"
      try AtomicFile.write(path: path, text: made.json.serialized())
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      let opened = try PeftModel.fromPretrained(other, directory + "/adapter", trainable: true)
      #expect(logits(other).isEqual(to: adapted))
      #expect(try tensor(opened, query + "hira_A").shape == [3, 16])
      let fresh = try PeftModel(try AutoModelForCausalLM.fromPretrained(directory), made)
      #expect(try tensor(fresh, query + "hira_A").shape == [2, 16])
      // Both factors have to agree.
      let tensors = peft.adapterParameters().map { key, parameter in
        let value = parameter.value.detached()
        return (key, key == query + "hira_A" ? value.narrowed(0, 0..<2).contiguous() : value)
      }
      try SafetensorsWriter.save(
        directory + "/adapter/adapter_model.safetensors", tensors: tensors)
      expectRefusal("expected the rank of hira_A, 2") {
        try PeftModel.fromPretrained(
          try AutoModelForCausalLM.fromPretrained(directory), directory + "/adapter")
      }
    }
  }

  /// Where no row stays, PEFT divides zero by zero.
  @Test func droppingEveryRowGivesNoUpdate() throws {
    try withModel { _, model in
      let plain = logits(model)
      let peft = try PeftModel(
        model,
        config { (own: inout LoHaConfig) in
          (own.rankDropout, own.startsAtIdentity) = (0.9999, false)
        })
      #expect(!logits(model).isEqual(to: plain))
      peft.context.isTraining = true
      #expect(logits(model).isEqual(to: plain))
    }
  }

  /// A whole module that is left out still has gradients, of zero.
  @Test func moduleDropoutKeepsTheGraph() throws {
    try withModel { _, model in
      let peft = try PeftModel(
        model,
        config { (own: inout LoKrConfig) in
          (own.moduleDropout, own.initialization) = (0.9999, .random)
        })
      peft.context.isTraining = true
      model.summedLoss(batch, labels: batch.ids).backward()
      for (key, parameter) in peft.trainableParameters {
        #expect(parameter.value.gradient?.absolute().max().item() == 0, "\(key)")
      }
    }
  }

  @Test func whatCannotBeIsRefused() throws {
    let cases: [(any AdapterConfiguration, String)] = [
      (config { (own: inout LoHaConfig) in own.rank = 0 }, "rank (r) is 0"),
      (config { (own: inout LoHaConfig) in own.rankDropout = 1 }, "rank_dropout is 1"),
      (config { (own: inout LoKrConfig) in own.decomposeFactor = 0 }, "decompose_factor is 0"),
      (
        config { (own: inout LoKrConfig) in own.rankPattern = [PathPattern("q", -1)] },
        "rank_pattern.q is -1"
      ),
      (config { (_: inout MissConfig) in }, "q_proj is 64, expected at most 16"),
      (
        config { (own: inout MissConfig) in (own.rank, own.variant) = (6, .bat) },
        "r for model.layers.0.self_attn.q_proj is 6, expected a divisor of 16 and 16"
      ),
      (
        config { (own: inout MissConfig) in (own.rank, own.variant, own.miniRank) = (4, .mini, 5) },
        "mini_r for model.layers.0.self_attn.q_proj is 5, expected a divisor of 16"
      ),
      (config { (own: inout ShiraConfig) in own.rank = 9 }, "q_proj is 9, expected at most 8"),
      (config { (own: inout ShiraConfig) in own.maskType = "mine" }, "mask_type is mine"),
      (config { (_: inout C3AConfig) in }, "q_proj is 256, expected a divisor of 16 and 16"),
      (config { (own: inout C3AConfig) in own.blockSize = 0 }, "block_size is 0"),
      (config { (_: inout FourierFTConfig) in }, "q_proj is 1000, expected at most 256"),
      (
        config { (own: inout WaveFTConfig) in own.frequencyCount = 257 },
        "q_proj is 257, expected at most 256"
      ),
      (config { (own: inout WaveFTConfig) in own.wavelet = "db11" }, "wavelet_family is db11"),
      (config { (own: inout DeloraConfig) in own.rank = 0 }, "rank (r) is 0"),
      (
        config { (own: inout GraloraConfig) in (own.rank, own.blockCount) = (4, 3) },
        "rank (r) is 4, expected a multiple of gralora_k = 3"
      ),
      (
        config { (own: inout GraloraConfig) in (own.rank, own.blockCount) = (6, 3) },
        "q_proj is 3, expected a divisor of 16 and 16"
      ),
      (config { (own: inout GraloraConfig) in own.hybridRank = -1 }, "hybrid_r is -1"),
      (config { (own: inout HiraConfig) in own.rank = -3 }, "rank (r) is -3"),
      (config { (own: inout PeanutConfig) in own.depth = -1 }, "depth is -1"),
      (config { (own: inout LilyConfig) in own.expertCount = 1 }, "num_B is 1"),
      (config { (own: inout LilyConfig) in own.stride = 0 }, "stride_A is 0"),
      (config { (_: inout SuperTuningConfig) in }, "none"),
      (
        config { (own: inout SuperTuningConfig) in own.sparsity = 0.999 },
        "q_proj is 0.999, expected at most 0.996"
      ),
      (config { (own: inout SuperTuningConfig) in own.alpha = 4 }, "lora_alpha is 4.0, expected r"),
    ]
    for (configuration, message) in cases {
      guard message != "none" else {
        try withModel { _, model in
          #expect(throws: Never.self) { try PeftModel(model, configuration) }
        }
        continue
      }
      try expectRefusal(configuration, message)
    }
  }

  /// Values in files that PEFT would not take either.
  @Test func wrongSpellingsAreRefused() throws {
    let cases: [(any AdapterConfiguration, String, String)] = [
      (LoKrConfig(), "init_weights", "true, false, \"lycoris\""),
      (MissConfig(), "init_weights", "\"bat\", \"mini\""),
      (C3AConfig(), "init_weights", "\"kaiming_uniform\""),
      (HiraConfig(), "init_weights", "\"gaussian\""), (PeanutConfig(), "act_fn", "relu2"),
    ]
    for (configuration, field, expected) in cases {
      var object = try #require(configuration.json.objectValue)
      object[field] = "nonsense"
      expectRefusal(field, "nonsense", expected) {
        try AdapterMethods.configuration(json: .object(object), path: "x")
      }
    }
  }
}
