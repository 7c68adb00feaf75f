import Adapters
import Foundation
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Adapters that PEFT saved on models with encoder and decoder give its numbers
/// (scripts/goldens/encoder_decoders.py).
@Suite struct EncoderDecoderAdapterTests {
  typealias TextModel = EncoderDecoderForConditionalGeneration

  static let fixtures = testDirectory() + "/EncoderDecoderFixtures"
  static let names = ((try? FileManager.default.contentsOfDirectory(atPath: fixtures)) ?? [])
    .filter { !$0.contains(".") }.sorted()
  static let texts = names.filter { $0.hasSuffix("-text") }
  static let heads = names.filter { !$0.hasSuffix("-text") }
  static let models = testDirectory() + "/../ModelsTests/EncoderDecoderFixtures/"

  private func base(of name: String) throws -> String {
    let config = try JSON.read(path: "\(Self.fixtures)/\(name)/adapter_config.json")
    return Self.models + (try #require(config["base_model_name_or_path"]?.stringValue))
  }

  private func golden(_ name: String) throws -> [String: Tensor] {
    try Goldens("\(Self.fixtures)/\(name)/expected.safetensors").tensors(prefix: "")
  }

  private func expectGradients<Base>(
    _ peft: PeftModel<Base>, _ golden: [String: Tensor]
  ) {
    let expected = golden.filter { $0.key.hasPrefix("grad.") }
    #expect(Set(peft.trainableParameters.map { "grad." + $0.key }) == Set(expected.keys))
    for (key, parameter) in peft.trainableParameters {
      guard let wanted = expected["grad." + key] else { continue }
      expectClose(
        parameter.value.gradient ?? parameter.value.zerosLike(), wanted, absolute: 1e-6,
        relative: 1e-4)
    }
  }

  @Test func thereAreSome() { #expect(Self.texts.count >= 6 && Self.heads.count >= 2) }

  @Test(arguments: texts, [false, true]) func logitsAndGradients(
    _ name: String, _ checkpoints: Bool
  ) throws {
    let golden = try golden(name)
    let model = try AutoModelForSeq2SeqLM.fromPretrained(try base(of: name))
    let peft = try PeftModel.fromPretrained(
      model, "\(Self.fixtures)/\(name)", trainable: true)
    model.checkpointsActivations = checkpoints
    let labels = try #require(golden["labels"])
    var input = Seq2SeqInput(
      ids: try #require(golden["input_ids"]), mask: golden["attention_mask"])
    let loss = peft.base.loss(input, labels: labels)
    expectClose(loss, try #require(golden["loss"]), absolute: 1e-5)
    loss.backward()
    expectGradients(peft, golden)
    input.decoderIDs = model.shiftedRight(labels)
    expectClose(
      withoutGradients { model(input) }, try #require(golden["outputs"]), absolute: 1e-5)
    // Merged it says the same; virtual tokens cannot be.
    guard !checkpoints, peft.configurations.first?.configuration is LoRAConfig else { return }
    try peft.mergeAndUnload()
    expectClose(
      withoutGradients { model(input) }, try #require(golden["outputs"]), absolute: 1e-4)
  }

  @Test(arguments: heads) func outputsAndGradients(_ name: String) throws {
    let golden = try golden(name)
    let directory = "\(Self.fixtures)/\(name)"
    let task = try JSON.read(path: directory + "/task.json")["task"]?.stringValue
    let model = try AutoModel.fromPretrained(
      try base(of: name), task: try #require(task.flatMap(ModelTask.init(rawValue:))))
    let peft = try PeftModel.fromPretrained(model, directory, trainable: true)
    let input = TaskInput(
      ids: try #require(golden["input_ids"]), mask: golden["attention_mask"])
    expectClose(
      withoutGradients { model(input) }, try #require(golden["outputs"]), absolute: 1e-5)
    let labels: TaskLabels
    if let classes = golden["labels"] {
      labels = .classes(classes)
    } else {
      let (start, end) = (golden["start_positions"], golden["end_positions"])
      labels = .answers(start: try #require(start), end: try #require(end))
    }
    let loss = model.loss(input, labels: labels)
    expectClose(loss, try #require(golden["loss"]), absolute: 1e-5)
    loss.backward()
    expectGradients(peft, golden)
  }

  @Test(arguments: texts) func savedAgainItIsTheSameFile(_ name: String) throws {
    let directory = "\(Self.fixtures)/\(name)"
    let model = try AutoModelForSeq2SeqLM.fromPretrained(try base(of: name))
    let peft = try PeftModel.fromPretrained(model, directory)
    try withTemporaryDirectory { copy in
      try peft.savePretrained(copy)
      let (old, new) = (
        try Goldens(directory + "/adapter_model.safetensors").tensors(prefix: ""),
        try Goldens(copy + "/adapter_model.safetensors").tensors(prefix: "")
      )
      #expect(Set(old.keys) == Set(new.keys))
      for (key, tensor) in old { #expect(new[key]?.isEqual(to: tensor) == true, "\(key)") }
      let json = try JSON.read(path: copy + "/adapter_config.json")
      #expect(json["task_type"]?.stringValue == "SEQ_2_SEQ_LM")
    }
  }

  /// Without a word of layers an adapter goes where PEFT puts it; a new one says its task.
  @Test(arguments: ["t5", "flan-t5", "mt5", "bart"]) func defaults(_ name: String) throws {
    func open() throws -> TextModel {
      try AutoModelForSeq2SeqLM.fromPretrained(Self.models + name)
    }
    let (lora, ia3, adaptive) = (
      try PeftModel(try open(), LoRAConfig(rank: 2)), try PeftModel(try open(), IA3Config()),
      try PeftModel(try open(), AdaLoRAConfig())
    )
    #expect(lora.configurations.first?.configuration.taskType == "SEQ_2_SEQ_LM")
    func ends<Base>(_ peft: PeftModel<Base>, _ part: String) -> Set<String> {
      Set(
        peft.trainableParameters.compactMap { key, _ in
          let pieces = key.split(separator: ".")
          return pieces.firstIndex { $0.hasPrefix(part) }.map { String(pieces[$0 - 1]) }
        })
    }
    let isBART = name == "bart"
    #expect(ends(lora, "lora_") == (isBART ? ["q_proj", "v_proj"] : ["q", "v"]))
    let scaled: [String: Set<String>] = [
      "t5": ["k", "v", "wo"], "flan-t5": ["k", "v", "wo"], "mt5": ["k", "v", "wi_1"],
      "bart": ["q_proj", "v_proj", "fc2"],
    ]
    #expect(ends(ia3, "ia3_l") == scaled[name])
    let all: [String: Set<String>] = [
      "t5": ["q", "k", "v", "o", "wi", "wo"], "flan-t5": ["q", "k", "v", "o", "wo"],
      "mt5": ["q", "k", "v", "o", "wi_0", "wi_1", "wo"],
      "bart": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
    ]
    let found = ends(adaptive, "lora_")
    // mT5's fixture has no gate of its own name only where the peer's has none.
    #expect(found.isSubset(of: all[name] ?? []) && found.count >= 5)
  }

  /// With a cache virtual tokens act as they do at once, and methods that need one stack are refused.
  @Test(arguments: ["t5-prompt-text", "bart-prefix-text"]) func virtualTokensAndCache(
    _ name: String
  ) throws {
    let golden = try golden(name)
    let peft = try PeftModel.fromPretrained(
      try AutoModelForSeq2SeqLM.fromPretrained(try base(of: name)), "\(Self.fixtures)/\(name)")
    let model = peft.base
    let (ids, mask) = (try #require(golden["input_ids"]), golden["attention_mask"])
    let written = model.shiftedRight(try #require(golden["labels"]))
    let whole = try #require(golden["outputs"])
    withoutGradients {
      let states = model.encode(ids, mask: mask)
      let cache = model.makeCache(capacity: 5)
      for range in [0..<2, 2..<3, 3..<5] {
        let hidden = model.decode(
          written.narrowed(1, range), states: states, mask: mask, cache: cache)
        expectClose(model.logits(hidden), whole.narrowed(1, range), absolute: 1e-5)
      }
    }
    for config in [
      CartridgeConfig(virtualTokens: 2), MultitaskPromptTuningConfig(virtualTokens: 2),
      CPTConfig(tokenIDs: [5], tokenTypes: [1]),
    ] as [any AdapterConfiguration] {
      let other = try AutoModelForSeq2SeqLM.fromPretrained(try base(of: name))
      #expect(throws: AdapterError.self) { try PeftModel(other, config) }
    }
    // So are those that would act on one of several layers over the common table.
    var (activated, tied) = (LoRAConfig(rank: 2), LoRAConfig(rank: 2))
    activated.invocationTokens = [5]
    tied.ensuresWeightTying = true
    let tokens = TrainableTokensConfig(tokenIndices: [5])
    for config in [activated, tied, tokens] as [any AdapterConfiguration] {
      let other = try AutoModelForSeq2SeqLM.fromPretrained(try base(of: name))
      #expect(throws: AdapterError.self) { try PeftModel(other, config) }
    }
  }
}
