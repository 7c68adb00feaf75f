import Adapters
import Checkpoints
import Foundation
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Shadow networks, beyond what every method promises.
@Suite struct ShadowTests {
  private let batch = sixTokens
  private let labels = sixTokens.ids

  private var threeBlocks: TinyModel { TinyModel { $0.layerCount = 3 } }

  private func network(_ change: (inout ShadowConfig) -> Void = { _ in }) -> ShadowConfig {
    var config = ShadowConfig(rank: 4, dropout: 0)
    change(&config)
    return config
  }

  private func parameters(_ peft: PeftModel<DecoderForCausalLM>) -> [String: Parameter] {
    Dictionary(peft.adapterParameters().map { ($0.key, $0.parameter) }, uniquingKeysWith: { $1 })
  }

  @Test func initialNumbers() throws {
    try withModel(threeBlocks, configuration: ["initializer_range": 0.1]) { _, model in
      let peft = try PeftModel(
        model, network { ($0.hiddenSize, $0.intermediateSize) = (64, 128) })
      let own = parameters(peft)
      let prefix = "base_model.shadow_backbone.default."
      func value(_ key: String) throws -> Tensor { try #require(own[key]).value.detached() }
      let weight = try value(prefix + "layers.0.mlp.up_proj.weight")
      #expect(weight.shape == [128, 64])
      #expect(abs(weight.standardDeviation().item() - 0.1) < 0.005)
      #expect(abs(weight.mean().item()) < 0.005)
      #expect(try value(prefix + "norm.weight").isEqual(to: .ones([64])))
      let table = try value(prefix + "embed_tokens.weight")
      #expect(table.shape == [260, 64])
      // Padding, 256 in this model.
      #expect(table.selected(0, 256).norm().item() == 0)
      #expect(table.selected(0, 257).norm().item() > 0)
      let projection = try value("base_model.shadow_projection.default.weight")
      #expect(projection.shape == [16, 64])
      #expect(projection.absolute().max().item() <= 1 / 8)
      let block = "base_model.model.model.layers.2."
      #expect(try value(block + "shadow_up.default.weight").norm().item() == 0)
      let bias = try value(block + "shadow_update_gate.default.2.bias")
      // Its bound is that of the four numbers that come in, not of the sixteen that go out.
      #expect((0.3...0.5).contains(bias.absolute().max().item()))
      #expect(own.keys.allSatisfy { !$0.contains("layers.1.") || $0.hasPrefix("base_model.model") })
    }
  }

  /// With tensors that can be followed by hand: each block gets s instead of h, s0 is 0, and behind the
  /// first block s is half of what T says.
  @Test func corrections() throws {
    var tiny = TinyModel()
    tiny.tiesEmbeddings = false
    let said = Tensor((0..<16).map { Float($0) / 8 - 1 }, shape: [16])
    let model = try tinyModel(tiny)
    let peft = try PeftModel(model, network { ($0.rank, $0.alpha) = (16, -1) })
    for (key, parameter) in peft.adapterParameters() {
      if key.contains("shadow_down") || key.contains("shadow_up.") {
        parameter.value = .identity(16)
      } else if key.contains("shadow_update") || key.hasSuffix("default.norm.weight") {
        let isSaid = key.hasSuffix("shadow_update_transform.default.2.bias")
        parameter.value = isSaid ? said : parameter.value.detached().zerosLike()
      }
    }
    // So the second block alone is left, and starts from the same vector at every position.
    tiny.layerCount = 1
    let other = try tinyModel(tiny)
    let weights = Dictionary(
      model.parameters().map { ($0.path, $0.parameter.value) }, uniquingKeysWith: { $1 })
    for (path, parameter) in other.parameters() {
      let source = path.replacingOccurrences(of: "layers.0", with: "layers.1")
      parameter.value =
        path == "model.embed_tokens.weight"
        ? (said * 0.5).unsqueezed(0).expanded([260, 16]).contiguous()
        : try #require(weights[source]).cloned()
    }
    expectClose(logits(model), logits(other), absolute: 1e-5)
    #expect(logits(model).absolute().max().item() > 0.1)
  }

  @Test func generatesAsWithoutCaches() throws {
    try withModel(threeBlocks) { _, model in
      let peft = try PeftModel(
        model, network { ($0.alpha, $0.layerCount, $0.hiddenSize) = (1, 2, 8) })
      disturb(peft, scale: 0.3)
      try expectSameTokens(model)
    }
  }

  /// The share of the small decoder's loss, in training alone.
  @Test func auxiliaryLoss() throws {
    func loss(_ weight: Double, task: String? = "CAUSAL_LM", recording: Bool = true) throws
      -> Double
    {
      let model = try tinyModel(threeBlocks)
      let peft = try PeftModel(
        model,
        network {
          $0.auxiliaryWeight = weight
          $0.taskType = task
        })
      disturb(peft, scale: 0.3)
      func value() -> Double { model.summedLoss(batch, labels: labels).item() }
      return recording ? value() : withoutGradients { value() }
    }
    let plain = try loss(0)
    let share = try loss(0.5) - plain
    #expect(share > 1)
    #expect(abs(try loss(1) - plain - 2 * share) < 1e-4)
    #expect(try loss(1, recording: false) == plain)
    #expect(try loss(1, task: nil) == plain)
  }

  @Test func chosenBlocks() throws {
    func targets(_ change: (inout ShadowConfig) -> Void) throws -> ([String], ShadowConfig) {
      var result: ([String], ShadowConfig)?
      try withModel(threeBlocks) { directory, model in
        let peft = try PeftModel(model, network(change))
        try peft.savePretrained(directory + "/a")
        let keys = peft.adapterParameters().map(\.key).filter {
          $0.hasSuffix("down.default.weight")
        }
        let opened = try PeftModel.fromPretrained(
          try AutoModelForCausalLM.fromPretrained(directory), directory + "/a")
        result = (
          keys.map { String($0.split(separator: ".")[4]) },
          try #require(opened.configurations[0].configuration as? ShadowConfig)
        )
      }
      return try #require(result)
    }
    let all = try targets { _ in }
    #expect(all.0 == ["0", "1", "2"])
    #expect(all.1.targetModules == .names(["model.layers.0", "model.layers.1", "model.layers.2"]))
    let some = try targets {
      $0.layersToTransform = [1, 2]
      $0.layersPattern = ["layers"]
    }
    #expect(some.0 == ["1", "2"])
    #expect(some.1.targetModules == .names(["model.layers.1", "model.layers.2"]))
    #expect(try targets { $0.excludeModules = .names(["layers.0"]) }.0 == ["1", "2"])
    #expect(try targets { $0.targetModules = .pattern(".*layers\\.[01]") }.0 == ["0", "1"])
    // As in PEFT, which does not look at layers_to_transform beside whole paths.
    let paths = try targets {
      $0.targetModules = .names(["model.layers.1"])
      $0.layersToTransform = [0]
    }
    #expect(paths.0 == ["1"])
  }

  @Test func sizesOfTheSmallDecoder() throws {
    func shape(
      _ type: String, _ sizes: MirrorSizes, _ changes: [String: JSON] = [:]
    ) throws -> DecoderConfiguration {
      var changes = changes
      changes["model_type"] = .string(type)
      return try configuration(changes).mirrored(sizes)
    }
    let narrow = MirrorSizes(layerCount: 1, hiddenSize: 8)
    // Four heads of four dimensions, whatever the width; Qwen2 divides the width anew.
    #expect(try shape("llama", narrow).headSize == 4)
    #expect(try shape("mistral", narrow).headSize == 4)
    #expect(try shape("qwen2", narrow).headSize == 2)
    #expect(try shape("qwen2", narrow, ["head_dim": 6]).headSize == 6)
    let windows = try shape(
      "qwen2", MirrorSizes(layerCount: 4),
      ["use_sliding_window": true, "sliding_window": 5, "max_window_layers": 1])
    #expect(windows.slidingWindows == [nil, 5, 5, 5])
    #expect(windows.layerCount == 4)
  }

  private func configuration(_ changes: [String: JSON]) throws -> DecoderConfiguration {
    var result: DecoderConfiguration?
    try withTemporaryDirectory { directory in
      var json = try #require(TinyModel().configuration.objectValue)
      for (key, value) in changes { json[key] = value }
      try Data(JSON.object(json).serialized(indent: 2).utf8)
        .write(to: URL(fileURLWithPath: directory + "/config.json"))
      result = try AutoModelForCausalLM.configuration(of: directory)
    }
    return try #require(result)
  }

  /// The embeddings of a decoder from a directory are saved but not trained; its path may count from
  /// the file.
  @Test func decodersOfDirectories() throws {
    try withModel(threeBlocks) { directory, model in
      let peft = try PeftModel(model, network { $0.backbone = TestAdapters.decoder })
      let key = "base_model.shadow_backbone.default.embed_tokens.weight"
      #expect(parameters(peft)[key] != nil)
      #expect(!peft.trainableParameters.contains { $0.key == key })
      disturb(peft, scale: 0.3)
      try peft.savePretrained(directory + "/a")
      try FileManager.default.copyItem(
        atPath: TestAdapters.decoder, toPath: directory + "/a/small")
      let path = directory + "/a/adapter_config.json"
      var json = try #require(try JSON.read(path: path).objectValue)
      json["shadow_model"] = "small"
      try Data(JSON.object(json).serialized(indent: 2).utf8).write(to: URL(fileURLWithPath: path))
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      let opened = try PeftModel.fromPretrained(other, directory + "/a")
      #expect(logits(other).isEqual(to: logits(model)))
      let found = try #require(opened.configurations[0].configuration as? ShadowConfig)
      #expect(found.backbone == directory + "/a/small")
    }
  }

  @Test func fields() throws {
    try expectRefusal(
      network { $0.targetModules = .names(["layers.0", "layers.2"]) }, "target_modules is 0, 2",
      "blocks that follow one another", in: threeBlocks)
    try expectRefusal(
      network { $0.targetModules = .allLinear }, "target_modules", "all-linear", in: threeBlocks)
    try expectRefusal(network { $0.targetModules = .names(["q_proj"]) }, "q_proj", in: threeBlocks)
    try expectRefusal(network { $0.rank = 0 }, "r is 0", in: threeBlocks)
    try expectRefusal(network { $0.dropout = 1 }, "shadow_dropout is 1", in: threeBlocks)
    try expectRefusal(
      network { $0.auxiliaryWeight = -1 }, "auxiliary_loss_weight is -1", in: threeBlocks)
    try expectRefusal(network { $0.updateSize = 0 }, "update_hidden_size is 0", in: threeBlocks)
    try expectRefusal(
      network { $0.layerCount = 0 }, "shadow_num_hidden_layers is 0", in: threeBlocks)
    try expectRefusal(
      network { $0.headCount = 3 }, "shadow_num_attention_heads is 3",
      "the model's 2 key/value heads", in: threeBlocks)
    try expectRefusal(
      network { ($0.backbone, $0.hiddenSize) = (TestAdapters.decoder, 8) },
      "shadow_hidden_size is 8", "nothing beside shadow_model", in: threeBlocks)
    try expectRefusal(
      network { $0.backbone = "/nowhere" }, "shadow_model is /nowhere", "config.json",
      in: threeBlocks)
    try withModel(threeBlocks) { directory, model in
      #expect { try PeftModel(model, network()).mergeAndUnload() } throws: {
        "\($0)" == "SHADOW adapters cannot be merged, as its corrections depend on the tokens"
      }
    }
  }
}
