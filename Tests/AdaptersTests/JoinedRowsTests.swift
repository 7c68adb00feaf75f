import Adapters
import JSONValues
import Layers
import Models
import Quantization
import TestSupport
import Tensors
import Testing

/// Losses of rows without their padding are those of padded rows, and so are the gradients.
@Suite struct JoinedRowsTests {
  /// A model and what is adapted in it.
  struct Case: CustomTestStringConvertible, Sendable {
    var name: String
    var configuration: [String: JSON] = [:]
    var hiddenSize = 16
    var isGPT2 = false
    var format: WeightFormat?
    /// Of LoRA; without adapters the model itself is trained.
    var changesLoRA: (@Sendable (inout LoRAConfig) -> Void)? = { _ in }
    var testDescription: String { name }
  }

  static let cases = [
    Case(name: "LoRA"),
    Case(name: "heads that own kernels take", hiddenSize: 64),
    Case(
      name: "a window", configuration: ["model_type": "mistral", "sliding_window": 3],
      hiddenSize: 64),
    Case(name: "GPT-2", isGPT2: true),
    Case(name: "full", hiddenSize: 64, changesLoRA: nil),
    Case(name: "int8", hiddenSize: 64, format: .int8(threshold: 0)),
    // Not known to treat tokens alone, so that nothing is joined.
    Case(name: "DoRA", changesLoRA: { $0.usesDoRA = true }),
  ]

  private func numbers(
    _ one: Case, lengths: [Int]?, padding: Int, again: Bool = false
  ) throws -> (loss: Tensor, gradients: [Tensor]) {
    let tiny = TinyModel {
      $0.hiddenSize = one.hiddenSize
      $0.isGPT2 = one.isGPT2
    }
    var result: (loss: Tensor, gradients: [Tensor])?
    try withModel(
      tiny, configuration: one.configuration,
      quantization: one.format.map { QuantizationOptions($0) }
    ) { _, model in
      let trained: [Parameter]
      if let change = one.changesLoRA {
        let peft = try PeftModel(model, onAllLinear(LoRAConfig(), change))
        disturb(peft)
        trained = peft.trainableParameters.map(\.parameter)
      } else {
        trained = model.parameters().map(\.parameter)
        for parameter in trained { parameter.isTrainable = true }
      }
      model.model.usesFusedLayers = true
      model.model.checkpointsActivations = again
      let rows = [[7, 3, 200, 41, 9], [77, 5], [1, 2, 3, 4, 5, 6, 7]]
      func filled(_ value: Int) -> Tensor {
        let all = rows.flatMap { $0 + Array(repeating: value, count: 7 - $0.count) }
        return Tensor(all, shape: [3, 7])
      }
      let loss = model.summedLoss(
        DecoderInput(ids: filled(padding), rowLengths: lengths), labels: filled(ignoredLabel))
      loss.backward()
      let gradients = try trained.map { try #require($0.value.gradient) }
      result = (loss.detached(), gradients)
    }
    return try #require(result)
  }

  @Test(arguments: cases) func lossAndGradients(_ one: Case) throws {
    let padded = try numbers(one, lengths: nil, padding: 0)
    for again in [false, true] {
      let joined = try numbers(one, lengths: [5, 2, 7], padding: 99, again: again)
      expectClose(joined.loss, padded.loss, absolute: 0, relative: 2e-6)
      for (found, expected) in zip(joined.gradients, padded.gradients) {
        let size = expected.absolute().max().item()
        expectClose(found, expected, absolute: 1e-5 * size, relative: 1e-5)
      }
    }
  }

  @Test func whatIsJoined() throws {
    try withModel { _, model in
      let ids = Tensor((0..<14).map { $0 }, shape: [2, 7])
      let some = Tensor((0..<14).map { $0 < 9 ? 1 : 0 }, shape: [2, 7])
      func joins(_ lengths: [Int]?, _ change: (inout DecoderInput) -> Void = { _ in }) -> Bool {
        var batch = DecoderInput(ids: ids, rowLengths: lengths)
        change(&batch)
        return model.model.joinedRows(batch) != nil
      }
      #expect(!joins([7, 2]))
      model.model.usesFusedLayers = true
      #expect(joins([7, 2]) && joins([0, 7]))
      // Nothing is gained, or nothing known.
      #expect(!joins([7, 7]) && !joins(nil) && !joins([0, 0]))
      #expect(!joins([7, 2]) { $0.mask = some } && !joins([7, 2]) { $0.sequenceIDs = some })
      #expect(!joins([7, 2]) { $0.positions = some })
      #expect(!joins([7, 2]) { $0.taskIDs = Tensor([0, 1]) })
      let peft = try PeftModel(model, onAllLinear(LoRAConfig()) { _ in })
      #expect(joins([7, 2]))
      _ = try peft.unload()
      _ = try PeftModel(model, onAllLinear(LoRAConfig()) { $0.usesDoRA = true })
      #expect(!joins([7, 2]))
    }
  }

  @Test(arguments: ["embd_pdrop", "resid_pdrop", "attn_pdrop"])
  func modelsThatDrawForTokensKeepThePadding(_ rate: String) throws {
    var rates: [String: JSON] = ["embd_pdrop": 0, "resid_pdrop": 0, "attn_pdrop": 0]
    rates[rate] = 0.1
    try withModel(TinyModel { $0.isGPT2 = true }, configuration: rates) { _, causal in
      let (model, ids) = (causal.model, Tensor((0..<14).map { $0 }, shape: [2, 7]))
      model.usesFusedLayers = true
      func joins() -> Bool { model.joinedRows(DecoderInput(ids: ids, rowLengths: [7, 2])) != nil }
      #expect(joins())
      try #require(causal.ownDropout).isOn = true
      #expect(joins() == (rate == "attn_pdrop"))
    }
  }
}
