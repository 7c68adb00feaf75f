import Adapters
import Checkpoints
import Foundation
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Trained tokens, adaption prompts, context-aware prompts and prompts of several tasks: what the
/// contract suite does not see.
@Suite struct TokensTests {
  private let ids = sixIDs

  /// Only the chosen rows of the merged table are others, and a tied head is the same table still.
  @Test func mergedTablesHaveTheNewRowsAndStayTied() throws {
    try withModel { _, model in
      let before = model.model.embedding.table.denseWeight().cloned()
      let peft = try PeftModel(model, TrainableTokensConfig(tokenIndices: [3, 200]))
      withoutGradients { _ = peft.trainableParameters[0].parameter.value.fillInPlace(0.25) }
      try peft.mergeAndUnload(safely: true)
      let after = model.model.embedding.table.denseWeight()
      let changed = (after - before).absolute().sum([1]).array(of: Float.self).enumerated()
        .filter { $0.element > 0 }.map(\.offset)
      #expect(changed == [3, 200])
      #expect(after.selected(0, 3).array(of: Float.self) == Array(repeating: 0.25, count: 16))
      let head = try #require(model.head.projection as? DenseProjection)
      let table = try #require(model.model.embedding.table as? DenseTable)
      #expect(head.weight === table.weight)
    }
  }

  @Test func anUntiedHeadIsLeftAlone() throws {
    try withModel(TinyModel { $0.tiesEmbeddings = false }) { _, model in
      let peft = try PeftModel(model, TrainableTokensConfig(tokenIndices: [250]))
      let plain = logits(model)
      // The token is not in the row, so that only a head that followed would show it.
      withoutGradients { _ = peft.trainableParameters[0].parameter.value.fillInPlace(9) }
      #expect(logits(model).isEqual(to: plain))
      #expect(model.head.projection is DenseProjection)
    }
  }

  @Test func whatCannotBeTogether() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, TrainableTokensConfig(tokenIndices: [3, 200]))
      try peft.addAdapter("other", TrainableTokensConfig(tokenIndices: [200, 7]))
      try peft.addAdapter("apart", TrainableTokensConfig(tokenIndices: [9]))
      expectRefusal("default and other both train token 200") {
        try peft.setAdapter(["default", "other"])
      }
      // Whoever came between does not have it.
      #expect { try peft.setAdapter(["default", "apart", "other"]) } throws: {
        "\($0)".contains("default and other both train token 200")
      }
      try peft.setAdapter(["default", "apart"])
      var lora = LoRAConfig()
      lora.trainableTokens = .inputEmbeddings([5])
      lora.modulesToSave = ["embed_tokens"]
      expectRefusal("trainable_token_indices is model.embed_tokens, expected modules that") {
        try peft.addAdapter("lora", lora)
      }
      lora.modulesToSave = []
      lora.trainableTokens = .modules(["absent": [5]])
      expectRefusal("absent are not in the model") { try peft.addAdapter("lora", lora) }
      lora.trainableTokens = .inputEmbeddings([260])
      expectRefusal("is 260") { try peft.addAdapter("lora", lora) }
    }
  }

  /// The output projection's bias counts once, so that a new adapter changes nothing.
  @Test func adaptionPromptsOnProjectionsWithBiases() throws {
    try withTemporaryDirectory { directory in
      let tiny = TinyModel()
      try tiny.write(to: directory)
      var config = try #require(tiny.configuration.objectValue)
      config["attention_bias"] = true
      try Data(JSON.object(config).serialized().utf8)
        .write(to: URL(fileURLWithPath: directory + "/config.json"))
      let biases = (0..<2).flatMap { layer in
        [("q_proj", 16), ("k_proj", 8), ("v_proj", 8), ("o_proj", 16)].map { name, size in
          (
            name: "model.layers.\(layer).self_attn.\(name).bias",
            tensor: Tensor.randomNormal([size], generator: Generator(seed: UInt64(layer)))
          )
        }
      }
      try SafetensorsWriter.save(
        directory + "/model.safetensors", tensors: tiny.weights + biases)
      let model = try AutoModelForCausalLM.fromPretrained(directory)
      let plain = logits(model)
      let peft = try PeftModel(model, AdaptionPromptConfig(length: 3, layers: 2))
      #expect(logits(model).isEqual(to: plain))
      for (key, parameter) in peft.trainableParameters where key.hasSuffix("gate") {
        withoutGradients { _ = parameter.value.fillInPlace(1) }
      }
      #expect(!logits(model).isEqual(to: plain))
    }
  }

  @Test func adaptionPromptsAreForLlamaAndMistral() throws {
    try withTemporaryDirectory { directory in
      let tiny = TinyModel()
      try tiny.write(to: directory)
      var config = try #require(tiny.configuration.objectValue)
      config["model_type"] = "qwen3"
      config["head_dim"] = 4
      try Data(JSON.object(config).serialized().utf8)
        .write(to: URL(fileURLWithPath: directory + "/config.json"))
      let norms = (0..<2).flatMap { layer in
        ["q_norm", "k_norm"].map {
          (name: "model.layers.\(layer).self_attn.\($0).weight", tensor: Tensor.ones([4]))
        }
      }
      try SafetensorsWriter.save(directory + "/model.safetensors", tensors: tiny.weights + norms)
      let model = try AutoModelForCausalLM.fromPretrained(directory)
      expectRefusal("a model of type qwen3, only llama and mistral") {
        try PeftModel(model, AdaptionPromptConfig(length: 3, layers: 1))
      }
    }
  }

  /// Rows stay within their radius, answers stay where they are.
  @Test func contextPromptsMoveByLittle() throws {
    try withModel { _, model in
      var config = CPTConfig(tokenIDs: [65, 66, 67, 68, 69], tokenTypes: [1, 2, 3, 4, 0])
      config.inputRadius = 0.4
      let peft = try PeftModel(model, config)
      let delta = try #require(peft.trainableParameters.first).parameter
      #expect(peft.trainableParameters.map(\.key) == ["delta_embedding.weight"])
      model.summedLoss(DecoderInput(ids: row(ids)), labels: row(ids)).backward()
      let gradient = try #require(delta.value.gradient).norm([1]).array(of: Double.self)
      #expect(gradient[0] > 0 && gradient[1] > 0 && gradient[2] > 0)
      #expect(gradient[3] == 0 && gradient[4] == 0)
      withoutGradients { _ = delta.value.fillInPlace(1) }
      peft.didStep(1, of: 2)
      let norms = delta.value.norm([1]).array(of: Double.self)
      // sqrt(16 / 2048) is 0.08838834764831845.
      let expected = [
        0.008838834764831845, 0.03535533905932738, 0.008838834764831845, 1e-10, 1e-10,
      ]
      for (norm, wanted) in zip(norms, expected) { #expect(abs(norm - wanted) < 1e-8) }
    }
  }

  /// Labels of the row count also where the last example was cut before its answer, and PEFT's do not.
  @Test func aCutExampleDoesNotSilenceTheRow() throws {
    try withModel { _, model in
      let batch = DecoderInput(ids: row(ids))
      _ = try PeftModel(model, CPTConfig(tokenIDs: [65, 66, 67], tokenTypes: [1, 2, 3]))
      let cut = model.summedLoss(batch, labels: row(ids)).item()
      let prompt = model.prompt
      model.prompt = nil
      let scores = withoutGradients {
        model.logits(DecoderInput(ids: row([65, 66, 67] + ids)))
      }.narrowed(1, 2..<8)
      model.prompt = prompt
      let losses =
        scores.logSumExp(-1, keepDimension: true)
        - scores.gathered(2, row(ids).unsqueezed(2))
      #expect(abs(cut / 5 - losses.mean().item()) < 1e-5)
    }
  }

  /// A prompt that another adapter gave begins with its numbers.
  @Test func promptsOfSeveralTasksBeginFromAnother() throws {
    try withModel { directory, model in
      let source = try PeftModel(model, MultitaskPromptTuningConfig(virtualTokens: 3, tasks: 2))
      try source.savePretrained(directory + "/source")
      let old = Dictionary(
        uniqueKeysWithValues: source.adapterParameters().map { ($0.key, $0.parameter.value) })
      let columns = try #require(old["prefix_task_cols"]).detached()
      for (initialization, wanted) in [
        (.averageSource, columns.mean([0], keepDimensions: true)),
        (.oneSource, columns.narrowed(0, 1..<2)), (.sharedSource, nil),
      ] as [(MultitaskPromptTuningConfig.Initialization, Tensor?)] {
        var config = MultitaskPromptTuningConfig(virtualTokens: 3)
        config.initialization = initialization
        config.sourceTask = 1
        config.sourcePath = directory + "/source/adapter_model.safetensors"
        try source.addAdapter(initialization.rawValue, config, seed: 9)
        let made = source.adapterParameters(initialization.rawValue)
        #expect(
          made[0].parameter.value.isEqual(to: try #require(old["prompt_embeddings"]).detached()))
        if let wanted { expectClose(made[1].parameter.value, wanted, absolute: 1e-7) }
      }
      var wrong = MultitaskPromptTuningConfig(virtualTokens: 4)
      wrong.initialization = .sharedSource
      wrong.sourcePath = directory + "/source/adapter_model.safetensors"
      expectRefusal("prompt_embeddings: [3, 16], but [4, 16] is needed") {
        try source.addAdapter("wrong", wrong)
      }
    }
  }

  /// Each row of a batch has the prompt of its own task.
  @Test func rowsOfSeveralTasks() throws {
    try withModel { _, model in
      let peft = try PeftModel(
        model, MultitaskPromptTuningConfig(virtualTokens: 3, tasks: 3, ranks: 2))
      withoutGradients {
        for (_, parameter) in peft.trainableParameters {
          _ = parameter.value.multiplyInPlace(20)
        }
      }
      func scores(_ tasks: [Int]?, rows: Int) -> Tensor {
        peft.context.taskIDs = tasks.map { Tensor($0, shape: [$0.count]) }
        let batch = Tensor.concatenated(Array(repeating: row(ids), count: rows))
        return withoutGradients { model.logits(DecoderInput(ids: batch)) }
      }
      let together = scores([2, 0], rows: 2)
      expectClose(together.narrowed(0, 0..<1), scores([2], rows: 1), absolute: 1e-5)
      expectClose(together.narrowed(0, 1..<2), scores(nil, rows: 1), absolute: 1e-5)
      #expect((together.selected(0, 0) - together.selected(0, 1)).absolute().max().item() > 1e-2)
    }
  }
}
