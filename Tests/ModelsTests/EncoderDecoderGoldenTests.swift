import Foundation
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Tiny models with encoder and decoder give transformers' numbers (scripts/goldens/encoder_decoders.py).
@Suite struct EncoderDecoderGoldenTests {
  static let fixtures = testDirectory() + "/EncoderDecoderFixtures"
  static let names = ((try? FileManager.default.contentsOfDirectory(atPath: fixtures)) ?? [])
    .filter { !$0.contains(".") }.sorted()

  private func golden(_ name: String) throws -> [String: Tensor] {
    try Goldens("\(Self.fixtures)/\(name)/expected.safetensors").tensors(prefix: "")
  }

  private func model(_ name: String) throws -> EncoderDecoderForConditionalGeneration {
    try AutoModelForSeq2SeqLM.fromPretrained("\(Self.fixtures)/\(name)")
  }

  @Test func everyFamilyHasOne() throws {
    let types = try Self.names.map { name in
      try JSON.read(path: "\(Self.fixtures)/\(name)/config.json")["model_type"]?.stringValue
    }
    #expect(Set(types.compactMap { $0 }) == Set(AutoModelForSeq2SeqLM.modelTypes))
  }

  @Test(arguments: names) func logitsAndLoss(_ name: String) throws {
    let (model, golden) = (try model(name), try golden(name))
    for way in ["plain", "left"] {
      let labels = try #require(golden["\(way).seq2seq-lm.labels"])
      var input = Seq2SeqInput(
        ids: try #require(golden["\(way).input_ids"]), mask: golden["\(way).attention_mask"])
      expectClose(
        model.loss(input, labels: labels), try #require(golden["\(way).seq2seq-lm.loss"]),
        absolute: 1e-5)
      input.decoderIDs = model.shiftedRight(labels)
      expectClose(model(input), try #require(golden["\(way).seq2seq-lm"]), absolute: 1e-5)
    }
  }

  @Test(
    arguments: names,
    [
      ModelTask.sequenceClassification, .tokenClassification, .questionAnswering,
      .featureExtraction,
    ]) func heads(_ name: String, _ task: ModelTask) throws
  {
    let directory = "\(Self.fixtures)/\(name)"
    let golden = try golden(name)
    guard golden["plain.\(task.rawValue)"] != nil else {
      // transformers has no BART for classes of tokens.
      #expect(name == "bart" && task == .tokenClassification)
      #expect(throws: ModelError.self) { try AutoModel.fromPretrained(directory, task: task) }
      return
    }
    try expectTaskGolden(AutoModel.fromPretrained(directory, task: task), golden)
  }

  /// With a cache one token at a time gives what all give at once; rows can be reordered on the way.
  @Test(arguments: names) func cacheAndReordering(_ name: String) throws {
    let (model, golden) = (try model(name), try golden(name))
    let (ids, mask) = (try #require(golden["left.input_ids"]), golden["left.attention_mask"])
    let written = model.shiftedRight(try #require(golden["left.seq2seq-lm.labels"]))
    let whole = try #require(golden["left.seq2seq-lm"])
    withoutGradients {
      let cache = model.makeCache(capacity: 5)
      let states = model.encode(ids, mask: mask)
      #expect(!cache.holdsStates)
      let first = model.decode(
        written.narrowed(1, 0..<2), states: states, mask: mask, cache: cache)
      #expect(cache.holdsStates && cache.length == 2)
      expectClose(model.logits(first), whole.narrowed(1, 0..<2), absolute: 1e-5)
      // Both rows twice, the second one first.
      let rows = Tensor([Int64(1), 0, 0, 1])
      cache.keep(rows: rows)
      let chosen = mask?.selecting(0, rows)
      for position in 2..<5 {
        let next = written.selecting(0, rows).narrowed(1, position..<position + 1)
        let hidden = model.decode(next, states: nil, mask: chosen, cache: cache)
        expectClose(
          model.logits(hidden), whole.selecting(0, rows).narrowed(1, position..<position + 1),
          absolute: 1e-5)
      }
    }
  }

  /// Shapes can be computed where there is no memory, so that nothing reads numbers on the way.
  @Test(arguments: names) func metaDevice(_ name: String) throws {
    let directory = "\(Self.fixtures)/\(name)"
    let ids = Tensor.zeros([3, 7], dtype: .int64, device: .meta)
    for dtype in [DType.float32, .float16] {
      let model = try AutoModelForSeq2SeqLM.fromPretrained(
        directory, dtype: dtype, device: .meta)
      let scores = model(Seq2SeqInput(ids: ids, decoderIDs: ids.narrowed(1, 0..<4)))
      #expect(scores.shape == [3, 4, 48])
      #expect(scores.device == .meta)
    }
    let rows = try AutoModelForSequenceClassification.fromPretrained(
      directory, labels: nil, device: .meta)
    #expect(rows(TaskInput(ids: ids)).shape.first == 3)
  }

  /// Computing blocks again in the backward pass changes no gradient, also of what all blocks share.
  @Test(arguments: names) func checkpointing(_ name: String) throws {
    let (model, golden) = (try model(name), try golden(name))
    let parameters = Array(Set(model.parameters().map(\.parameter)))
    for parameter in parameters {
      parameter.value = parameter.value.detached().cloned()
      parameter.isTrainable = true
    }
    let input = Seq2SeqInput(
      ids: try #require(golden["left.input_ids"]), mask: golden["left.attention_mask"])
    let labels = try #require(golden["left.seq2seq-lm.labels"])
    func gradients() -> [Tensor] {
      model.loss(input, labels: labels).gradients(of: parameters.map(\.value))
        .map { $0 ?? Tensor.zeros([1]) }
    }
    let plain = gradients()
    #expect(plain.filter { $0.absolute().max().item() > 0 }.count >= parameters.count * 4 / 5)
    model.checkpointsActivations = true
    for (again, before) in zip(gradients(), plain) { expectClose(again, before, absolute: 1e-6) }
  }

  /// In float16 T5's last layers of MLPs are float32, as in transformers.
  @Test(arguments: ["t5", "bart"]) func float16(_ name: String) throws {
    let model = try AutoModelForSeq2SeqLM.fromPretrained(
      "\(Self.fixtures)/\(name)", dtype: .float16)
    let wide = model.parameters().filter { $0.parameter.value.dtype == .float32 }.map(\.path)
    #expect(wide.allSatisfy { $0.hasSuffix(".wo.weight") })
    #expect(wide.isEmpty == (name == "bart"))
    let golden = try golden(name)
    let input = Seq2SeqInput(
      ids: try #require(golden["plain.input_ids"]),
      decoderIDs: model.shiftedRight(try #require(golden["plain.seq2seq-lm.labels"])))
    let found = model(input)
    #expect(found.dtype == .float16)
    expectClose(
      found.to(.float32), try #require(golden["plain.seq2seq-lm"]), absolute: 0.02, relative: 0.02)
  }
}
