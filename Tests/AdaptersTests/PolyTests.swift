import Adapters
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Skills by task.
@Suite struct PolyTests {
  private let ids = [7, 3, 200, 41, 5, 90, 91, 92, 17, 250, 1, 2]

  private func withPoly(
    _ config: PolyConfig, _ body: (String, PeftModel<DecoderForCausalLM>) throws -> Void
  ) throws {
    try withModel { directory, model in
      let peft = try PeftModel(model, config)
      disturb(peft, scale: 0.5)
      try body(directory, peft)
    }
  }

  private func logits(_ peft: PeftModel<DecoderForCausalLM>, rows: Range<Int>) -> Tensor {
    let batch = DecoderInput(
      ids: Tensor(Array(ids[rows.lowerBound * 4..<rows.upperBound * 4]), shape: [rows.count, 4]))
    return withoutGradients { peft.base.logits(batch) }
  }

  @Test func eachRowHasItsTask() throws {
    let config = PolyConfig(
      rank: 3, taskCount: 3, skillCount: 2, splitCount: 2, targetModules: .allLinear)
    try withPoly(config) { _, peft in
      peft.context.taskIDs = Tensor([2, 0, 2])
      let together = logits(peft, rows: 0..<3)
      for (row, task) in [2, 0, 2].enumerated() {
        peft.context.taskIDs = Tensor([task])
        let alone = logits(peft, rows: row..<row + 1)
        expectClose(together.narrowed(0, row..<row + 1), alone, absolute: 1e-5)
      }
      // None is the first.
      peft.context.taskIDs = nil
      let plain = logits(peft, rows: 0..<1)
      peft.context.taskIDs = Tensor([0])
      #expect(logits(peft, rows: 0..<1).isEqual(to: plain))
    }
  }

  /// A task is a LoRA with the mean of the skills' factors.
  @Test func aTaskIsALoRA() throws {
    let config = PolyConfig(
      rank: 3, taskCount: 2, skillCount: 3, splitCount: 2, targetModules: .names(["v_proj"]))
    try withPoly(config) { directory, peft in
      peft.context.taskIDs = Tensor([1, 1])
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      let lora = try PeftModel(
        other, LoRAConfig(rank: 3, alpha: 1, targetModules: .names(["v_proj"])))
      var tensors: [String: Tensor] = [:]
      let own = Dictionary(
        uniqueKeysWithValues: peft.adapterParameters().map { ($0.key, $0.parameter.value) })
      for layer in 0..<2 {
        let prefix = "base_model.model.model.layers.\(layer).self_attn.v_proj."
        let router = try #require(own[prefix + "poly_router.module_logits"]).selected(0, 1)
        let a = try #require(own[prefix + "poly_lora_A"])  // [2, 3, 8, 3]
        let b = try #require(own[prefix + "poly_lora_B"])  // [2, 3, 3, 4]
        var (rows, columns): ([Tensor], [Tensor]) = ([], [])
        for split in 0..<2 {
          let shares = router.narrowed(0, 3 * split..<3 * split + 3).sigmoid()
          let weights = (shares / shares.sum()).array(of: Double.self)
          func mean(_ skills: Tensor) -> Tensor {
            let parts = weights.enumerated().map {
              skills.selected(0, split).selected(0, $0.offset) * $0.element
            }
            return parts[0] + parts[1] + parts[2]
          }
          rows.append(mean(a))
          columns.append(mean(b))
        }
        tensors[prefix + "lora_A.weight"] = Tensor.concatenated(rows).transposed().contiguous()
        tensors[prefix + "lora_B.weight"] = Tensor.concatenated(columns, dimension: 1).transposed()
          .contiguous()
      }
      try lora.loadStateDictionary(tensors)
      expectClose(logits(peft, rows: 0..<2), logits(lora, rows: 0..<2), absolute: 1e-5)
    }
  }

  /// The same generator gives the same samples; each row has its own.
  @Test func samplesInTraining() throws {
    try withPoly(PolyConfig(rank: 2, taskCount: 1, targetModules: .allLinear)) { _, peft in
      peft.context.isTraining = true
      let state = peft.context.generator.state
      let first = logits(peft, rows: 0..<2)
      #expect(!logits(peft, rows: 0..<2).isEqual(to: first))
      peft.context.generator.state = state
      #expect(logits(peft, rows: 0..<2).isEqual(to: first))
    }
  }
}
