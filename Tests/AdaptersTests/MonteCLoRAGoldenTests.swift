import Adapters
import Layers
import TestSupport
import Tensors
import Testing

/// MonteCLoRA against PEFT's numbers, from scripts/goldens/lora_monteclora.py.
@Suite struct MonteCLoRAGoldenTests {
  private final class Root: Module {
    let first: Linear
    let second: Linear
    init(_ golden: Goldens) {
      first = Linear(weight: golden["base.first"].cloned(), bias: golden["base.bias"].cloned())
      second = Linear(weight: golden["base.second"].cloned())
    }
    var children: [(name: String, module: any Module)] { [("first", first), ("second", second)] }
    func callAsFunction(_ x: Tensor) -> Tensor { second(first(x).tanh()) }
  }

  private let prefix = "base_model.model."

  private func wrapped(
    usesEntropy: Bool = true
  ) throws -> (root: Root, peft: PeftModel<Root>, golden: Goldens) {
    let golden = try Goldens(testDirectory() + "/Fixtures/lora-monteclora.safetensors")
    var settings = MonteCLoRAConfig()
    (settings.sampleCount, settings.usesEntropy, settings.concentration) = (4, usesEntropy, 0.3)
    (settings.sampleScale, settings.divergenceWeight) = (0.05, 0.01)
    var config = LoRAConfig(rank: 3, alpha: 6, targetModules: .names(["first", "second"]))
    config.rankPattern = [PathPattern("second", 2)]
    config.monteCLoRA = settings
    let root = Root(golden)
    let peft = try PeftModel(root, config)
    try peft.loadStateDictionary(golden.tensors(prefix: "adapter."))
    return (root, peft, golden)
  }

  private func expectGradients(_ peft: PeftModel<Root>, _ expected: [String: Tensor]) throws {
    #expect(!expected.isEmpty)
    for (key, parameter) in peft.trainableParameters {
      guard let wanted = expected[key] else {
        #expect(parameter.value.gradient == nil, "\(key)")
        continue
      }
      expectClose(
        try #require(parameter.value.gradient, "\(key)"), wanted, absolute: 1e-5, relative: 1e-4)
    }
    #expect(Set(expected.keys).isSubset(of: peft.trainableParameters.map(\.key)))
  }

  @Test func evaluationAndMergedWeightsArePefts() throws {
    let (root, peft, golden) = try wrapped()
    let y = withoutGradients { root(golden["x"]) }
    expectClose(y, golden["evaluated"], absolute: 1e-5)
    try peft.mergeAndUnload()
    expectClose(root.first.projection.denseWeight(), golden["merged.first"], absolute: 1e-6)
    expectClose(root.second.projection.denseWeight(), golden["merged.second"], absolute: 1e-6)
  }

  /// With the variances and weights of the file, before anything is drawn.
  @Test(arguments: [("entropy", true), ("plain", false)])
  func theLossIsPefts(_ name: String, _ usesEntropy: Bool) throws {
    let (_, peft, golden) = try wrapped(usesEntropy: usesEntropy)
    let penalty = try #require(peft.penalty())
    expectClose(penalty.detached(), golden[name + ".loss"], absolute: 1e-6)
    penalty.backward()
    try expectGradients(peft, golden.tensors(prefix: name + ".grad."))
  }

  /// The same random numbers on both sides.
  @Test func aStepOfTrainingIsPefts() throws {
    let (root, peft, golden) = try wrapped()
    var samples: [String: MonteCLoRASamples] = [:]
    for name in ["first", "second"] {
      samples[name] = MonteCLoRASamples(
        normals: golden["z_mvn." + name].transposed(),
        squares: golden["z_wishart." + name].diagonal(), logits: golden["z_dirichlet." + name])
    }
    peft.setMonteCLoRASamples(samples, of: "default")
    peft.context.isTraining = true
    let y = root(golden["x"])
    expectClose(y.detached(), golden["step.y"], absolute: 1e-5)
    #expect((golden["step.y"] - golden["evaluated"]).absolute().max().item() > 0.05)
    let loss = (y * golden["slope"]).sum() + (try #require(peft.penalty()))
    expectClose(loss.detached(), golden["step.loss"], absolute: 1e-5)
    loss.backward()
    try expectGradients(peft, golden.tensors(prefix: "step.grad."))
    let own = Dictionary(
      uniqueKeysWithValues: try peft.stateDictionary().map { ($0.key, $0.tensor) })
    for (key, tensor) in golden.tensors(prefix: "step.after.") {
      expectClose(try #require(own[key], "\(key)"), tensor, absolute: 1e-6)
    }
    // Numbers that are not given are drawn.
    peft.setMonteCLoRASamples([:], of: "default")
    #expect((root(golden["x"]) - y).absolute().max().item() > 1e-3)
  }

  /// PEFT's file is what is written, name for name.
  @Test func filesHaveWhatPeftsHave() throws {
    let (_, peft, golden) = try wrapped()
    let expected = golden.tensors(prefix: "adapter.")
    let own = try peft.stateDictionary()
    #expect(Set(own.map(\.key)) == Set(expected.keys))
    for (key, tensor) in own { #expect(tensor.isEqual(to: try #require(expected[key])), "\(key)") }
  }
}
