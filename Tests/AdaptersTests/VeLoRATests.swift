import Adapters
import Layers
import Models
import TestSupport
import Tensors
import Testing

/// VeLoRA's gradients; everything else is in the contract suite.
@Suite struct VeLoRATests {
  private let batch = sixTokens

  /// Gradients of A and B of one layer, in training.
  private func gradients(_ velora: VeLoRAConfig?) throws -> (a: Tensor, b: Tensor, v: Tensor?) {
    let model = try tinyModel()
    var config = LoRAConfig(rank: 3, targetModules: .names(["layers.1.mlp.down_proj"]))
    (config.initialization, config.veLoRA) = (.random, velora)
    let peft = try PeftModel(model, config, seed: 4)
    peft.context.isTraining = true
    model.summedLoss(batch, labels: batch.ids).backward()
    let own = peft.adapterParameters().map { $0.parameter.value }
    return (
      try #require(own[0].gradient), try #require(own[1].gradient),
      own.count > 2 ? own[2].detached() : nil
    )
  }

  private func settings(
    _ groups: Int, _ start: VeLoRAConfig.Start = .eachBatch, scale: Double = 1
  ) -> VeLoRAConfig {
    var velora = VeLoRAConfig()
    (velora.groupCount, velora.start, velora.scale) = (groups, start, scale)
    return velora
  }

  /// A group of one number is kept whole, so that the gradients are those of a LoRA.
  @Test func groupsOfOneNumberLoseNothing() throws {
    let (plain, own) = (try gradients(nil), try gradients(settings(24)))
    expectClose(own.a, plain.a, absolute: 1e-6)
    expectClose(own.b, plain.b, absolute: 1e-6)
  }

  /// A's gradient is the LoRA's times v v^T in each group; B's is the LoRA's.
  @Test(arguments: [
    (4, VeLoRAConfig.Start.random), (4, .eachBatch), (5, .firstBatch), (7, .random),
  ])
  func inputsAreProjected(_ groups: Int, _ start: VeLoRAConfig.Start) throws {
    let plain = try gradients(nil)
    let own = try gradients(settings(groups, start, scale: 0.5))
    let v = try #require(own.v)
    let width = (24 + groups - 1) / groups
    #expect(v.shape == [width])
    #expect(abs(v.norm().item() - 1) < 1e-6)
    var padded = plain.a
    if groups * width > 24 {
      padded = .concatenated([padded, .zeros([3, groups * width - 24])], dimension: 1)
    }
    let inGroups = padded.reshaped([3, groups, width])
    let seen = inGroups.matrixProduct(v.unsqueezed(1)) * v  // [3, groups, width]
    expectClose(
      own.a, seen.reshaped([3, -1]).narrowed(1, 0..<24) * 0.5, absolute: 1e-5, relative: 1e-4)
    expectClose(own.b, plain.b, absolute: 1e-6)
  }
}
