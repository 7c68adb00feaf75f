import Adapters
import Foundation
import JSONValues
import Models
import TestSupport
import Testing
import Training

@Suite struct TrainerTests {
  /// Trains a tiny model for some steps and returns the losses.
  private func losses(
    _ directory: String, steps: Int
  ) throws -> [Double] {
    let model = try AutoModelForCausalLM.fromPretrained(directory + "/model")
    let peft = try PeftModel(model, LoRAConfig(rank: 4, targetModules: .allLinear), seed: 3)
    var options = TrainingOptions()
    options.maximumSteps = steps
    options.learningRate = 5e-3
    options.logEvery = 1
    options.saveEvery = steps
    let run = "\(directory)/run-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: run, withIntermediateDirectories: true)
    let trainer = try Trainer(
      model: peft, examples: try tinyExamples(directory + "/model"), options: options,
      directory: run, recipe: [:])
    var losses: [Double] = []
    trainer.onStep = { losses.append($0.loss) }
    _ = try trainer.run(resuming: false)
    return losses
  }

  /// The losses of a tiny run as they were first recorded.
  ///
  /// A change that should not alter results must reproduce them: bit for bit on one machine, but
  /// other processors sum in another order.
  @Test func recordedLosses() throws {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory + "/model")
      let found = try losses(directory, steps: 8)
      #expect(found == (try losses(directory, steps: 8)))
      let recorded = [
        5.924445629119873, 5.9980950355529785, 5.7689971923828125, 5.6785383224487305,
        5.667333602905273, 5.492057800292969, 5.305075645446777, 5.281801700592041,
      ]
      #expect(found.count == recorded.count, "\(found)")
      for (a, b) in zip(found, recorded) { #expect(abs(a - b) < 1e-5 * b, "\(found)") }
    }
  }
}
