import Adapters
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Virtual tokens on encoders and on models with heads.
@Suite struct EncoderPromptTests {
  private static let models = testDirectory() + "/../ModelsTests/"
  private static var input: TaskInput {
    TaskInput(
      ids: Tensor([Int64(5), 9, 3, 12, 7, 21, 4, 6], shape: [2, 4]),
      mask: Tensor([Int64(1), 1, 1, 1, 1, 1, 1, 0], shape: [2, 4]))
  }

  private func model(_ name: String, _ task: ModelTask) throws -> TaskModel {
    let folder = name == "llama" ? "Fixtures/" : "EncoderFixtures/"
    return try AutoModel.fromPretrained(Self.models + folder + name, task: task, seed: 2)
  }

  private static let cases: [(String, ModelTask, Bool)] = ["bert", "roberta", "llama"].flatMap {
    name in
    [ModelTask.sequenceClassification, .tokenClassification, .questionAnswering].flatMap { task in
      [(name, task, false), (name, task, true)]
    }
  }

  @Test(arguments: cases) func promptsAreTrainedWithTheHeadAndSaved(
    _ name: String, _ task: ModelTask, _ isPrefix: Bool
  ) throws {
    let base = try model(name, task)
    let bare = withoutGradients { base(Self.input) }
    var config: any AdapterConfiguration = PromptTuningConfig(virtualTokens: 3)
    if isPrefix { config = PrefixTuningConfig(virtualTokens: 3) }
    let peft = try PeftModel(base, config, seed: 4)
    #expect(peft.configurations.first?.configuration.taskType == task.adapterType)
    let changed = withoutGradients { base(Self.input) }
    #expect(changed.shape == bare.shape)
    #expect(!changed.isEqual(to: bare))
    #expect(base.rowLimit == base.maximumLength - 3)
    let labels: TaskLabels =
      switch task {
      case .sequenceClassification: .classes(Tensor([Int64(0), 1]))
      case .tokenClassification:
        .classes(Tensor([Int64(0), 1, -100, 1, 1, 0, 0, -100], shape: [2, 4]))
      default: .answers(start: Tensor([Int64(0), 1]), end: Tensor([Int64(2), 2]))
      }
    let loss = base.loss(Self.input, labels: labels)
    loss.backward()
    for (key, parameter) in peft.trainableParameters {
      let size = parameter.value.gradient?.norm().item() ?? 0
      // What is added to all positions' scores alike changes no answer.
      #expect(size > 0 || key.hasSuffix("qa_outputs.bias"), "\(key)")
    }
    #expect(peft.trainableParameters.contains { $0.key == "prompt_embeddings" } || isPrefix)
    let head = ["classifier", "score", "qa_outputs"]
    #expect(
      peft.trainableParameters.contains { entry in
        head.contains { entry.key.hasPrefix("base_model.\($0)") }
      }, "\(peft.trainableParameters.map(\.key))")
    try withTemporaryDirectory { directory in
      try peft.savePretrained(directory)
      let other = try model(name, task)
      _ = try PeftModel.fromPretrained(other, directory)
      expectClose(withoutGradients { other(Self.input) }, changed, absolute: 1e-6)
    }
  }

  /// For a decoder, whose tokens see none behind them, a prefix of a text's keys and values is the text.
  @Test func aPrefixCanBeginAsATextsKeysAndValues() throws {
    let text = [5, 9, 3]
    let bert = try model("bert", .tokenClassification)
    #expect(bert.keysAndValues(of: text).shape == [2, 2, 4, 3, 4])
    let llama = try model("llama", .tokenClassification)
    let whole = withoutGradients {
      llama(TaskInput(ids: Tensor(text + [12, 7], shape: [1, 5])))
    }
    let peft = try PeftModel(llama, PrefixTuningConfig(virtualTokens: 3))
    try peft.beginPrompt(asPrefixOf: text)
    let behind = withoutGradients { llama(TaskInput(ids: Tensor([12, 7], shape: [1, 2]))) }
    expectClose(behind, whole.narrowed(1, 3..<5), absolute: 1e-5)
  }

  @Test(arguments: ["distilbert", "modernbert"])
  func whereBlocksTakeNoKeysAndValuesThatIsSaid(_ name: String) throws {
    let base = try model(name, .tokenClassification)
    let error = #expect(throws: AdapterError.self) {
      try PeftModel(base, PrefixTuningConfig(virtualTokens: 3))
    }
    let message = error.map { "\($0)" } ?? ""
    #expect(message.contains(name) && message.contains("prompt tuning"), "\(message)")
    _ = try PeftModel(base, PromptTuningConfig(virtualTokens: 3))
    #expect(withoutGradients { base(Self.input) }.size(1) == 4)
  }
}
