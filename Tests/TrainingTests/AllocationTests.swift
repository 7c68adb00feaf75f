import Adapters
import Checkpoints
import Foundation
import JSONValues
import Models
import Tensors
import TestSupport
import Testing
import Training

/// Methods that act between steps: runs that stop and go on, and schedules that do not fit.
@Suite struct AllocationTests {
  private static var adaLoRA: AdaLoRAConfig {
    var config = AdaLoRAConfig(targetRank: 2, initialRank: 4, targetModules: .allLinear)
    (config.initialSteps, config.finalSteps, config.interval) = (1, 2, 2)
    config.dropout = 0.1
    return config
  }

  private static var adamss: AdamssConfig {
    var config = AdamssConfig(rank: 6, subspaceCount: 3, targetModules: .allLinear)
    config.usesAllocation = true
    (config.asaTarget, config.asaStart, config.asaEnd, config.asaInterval) = (6, 0, 8, 2)
    return config
  }

  static let configurations: [any LayerConfiguration] = [
    adaLoRA, adamss, PolyConfig(rank: 3, taskCount: 2, targetModules: .allLinear),
  ]

  private func trainer(
    _ directory: String, _ run: String, _ configuration: any LayerConfiguration, steps: Int
  ) throws -> Trainer {
    let model = try AutoModelForCausalLM.fromPretrained(directory + "/model")
    let peft = try PeftModel(model, configuration, seed: 3)
    var options = TrainingOptions()
    options.maximumSteps = steps
    options.batchSize = 4
    options.gradientAccumulation = 2
    options.learningRate = 5e-3
    options.logEvery = 1
    options.saveEvery = 100
    let path = "\(directory)/\(run)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return try Trainer(
      model: peft, examples: try tinyExamples(directory + "/model"), options: options,
      directory: path, recipe: [:])
  }

  /// Stopped after any of its phases, a run goes on with the same bits.
  @Test(arguments: 0..<configurations.count) func resumedItIsTheSame(_ index: Int) throws {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory + "/model")
      let configuration = Self.configurations[index]
      var losses: [Double] = []
      let whole = try trainer(directory, "whole", configuration, steps: 10)
      whole.onStep = { losses.append($0.loss) }
      _ = try whole.run(resuming: false)
      #expect(losses.count == 10)
      for stop in [3, 5, 9] {
        let run = "stopped-\(stop)"
        var found: [Double] = []
        for isResumed in [false, true] {
          let part = try trainer(directory, run, configuration, steps: 10)
          part.onStep = { found.append($0.loss) }
          part.shouldStop = { !isResumed && found.count == stop }
          _ = try part.run(resuming: isResumed)
        }
        #expect(found == losses, "\(stop)")
        for name in ["adapter_model.safetensors", "adapter_config.json"] {
          let (one, other) = (
            try Data(contentsOf: URL(fileURLWithPath: "\(directory)/whole/\(name)")),
            try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(run)/\(name)"))
          )
          #expect(one == other, "\(stop): \(name)")
        }
      }
    }
  }

  @Test func schedulesThatDoNotFit() throws {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory + "/model")
      #expect {
        _ = try trainer(directory, "short", Self.adaLoRA, steps: 3)
      } throws: {
        "\($0)".contains("tinit + tfinal is 1 + 2, expected less than the 3 updates")
      }
      #expect {
        _ = try trainer(directory, "short", Self.adamss, steps: 8)
      } throws: {
        "\($0)".contains("final_warmup is 8, expected less than the 8 updates")
      }
    }
  }
}
