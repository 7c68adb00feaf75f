import Adapters
import Layers
import TestSupport
import Tensors
import Testing

/// LoRA on convolutions; numbers of PEFT's from scripts/goldens/lora_convolutions.py.
@Suite struct ConvolutionTests {
  private static let steps: [String: ConvolutionSteps] = [
    "line": ConvolutionSteps(stride: [2], padding: [1]),
    "plane": ConvolutionSteps(stride: [2, 1], padding: [1, 0]),
    "point": ConvolutionSteps(stride: [1, 1]),
    "grouped": ConvolutionSteps(stride: [1, 1], groups: 2),
    "bias": ConvolutionSteps(stride: [1]), "dora": ConvolutionSteps(stride: [1, 1]),
  ]

  private func config(_ name: String) -> LoRAConfig {
    var config = LoRAConfig(rank: 4, alpha: 6, targetModules: .names(["conv"]))
    (config.usesBias, config.usesDoRA) = (name == "bias", name == "dora")
    return config
  }

  @Test(arguments: steps.keys.sorted()) func itIsPeftsNumbers(_ name: String) throws {
    let golden = try Goldens(testDirectory() + "/Fixtures/lora-convolutions.safetensors")
    let own = golden.tensors(prefix: name + ".")
    func layer() throws -> Convolution {
      Convolution(
        DenseKernels(
          weight: Parameter(golden[name + ".base.weight"].cloned()),
          bias: own["base.bias"].map { Parameter($0.cloned()) },
          steps: try #require(Self.steps[name])))
    }
    let root = OneLayer(try layer(), named: "conv")
    let x = golden[name + ".x"]
    let plain = root.layer(x)
    let peft = try PeftModel(root, config(name))
    expectClose(root.layer(x).detached(), plain, absolute: 1e-6)
    let adapter = golden.tensors(prefix: name + ".adapter.")
    #expect(Set(peft.adapterParameters().map(\.key)) == Set(adapter.keys))
    for (key, parameter) in peft.trainableParameters {
      let value = try #require(adapter[key])
      #expect(parameter.value.shape == value.shape, "\(key)")
      parameter.value = value.cloned()
      parameter.isTrainable = true
    }
    let y = root.layer(x)
    expectClose(y.detached(), golden[name + ".y"], absolute: 1e-4)
    (y * y).sum().backward()
    for (key, parameter) in peft.trainableParameters {
      expectClose(
        try #require(parameter.value.gradient), golden["\(name).grad.\(key)"], absolute: 1e-3,
        relative: 1e-4)
    }
    #expect(peft.withAdaptersDisabled { root.layer(x) }.isEqual(to: plain))
    try withTemporaryDirectory { directory in
      try peft.savePretrained(directory)
      let other = OneLayer(try layer(), named: "conv")
      _ = try PeftModel.fromPretrained(other, directory)
      #expect(other.layer(x).isEqual(to: y))
    }
    guard name != "grouped" else {
      #expect(throws: AdapterError.self) { try peft.mergeAdapter() }
      return
    }
    try peft.mergeAdapter()
    expectClose(root.layer(x), golden[name + ".merged"], absolute: 1e-4)
    peft.unmergeAdapter()
    expectClose(root.layer(x).detached(), y.detached(), absolute: 0)
    try peft.mergeAndUnload()
    expectClose(root.layer(x), golden[name + ".merged"], absolute: 1e-4)
    #expect(root.layer.kernels is DenseKernels)
  }

  /// A's kernel is spread as the base's is, so that merging holds; PEFT fails here.
  @Test func dilationIsTheBases() throws {
    let generator = Generator(seed: 2)
    let root = OneLayer(
      Convolution(
        DenseKernels(
          weight: Parameter(.randomNormal([5, 3, 3], generator: generator)),
          steps: ConvolutionSteps(stride: [1], padding: [2], dilation: [2]))), named: "conv")
    var config = config("line")
    config.initialization = .random
    let x = Tensor.randomNormal([2, 3, 8], generator: generator)
    let peft = try PeftModel(root, config)
    let adapted = root.layer(x).detached()
    try peft.mergeAndUnload()
    expectClose(root.layer(x), adapted, absolute: 1e-4)
  }

  @Test func whatCannotBeIsRefused() throws {
    func refuses(_ words: String..., change: (inout LoRAConfig) -> Void) {
      let root = OneLayer(
        Convolution(
          DenseKernels(
            weight: Parameter(.zeros([6, 2, 3])), steps: ConvolutionSteps(stride: [1], groups: 2))),
        named: "conv")
      var config = config("line")
      change(&config)
      expectRefusal(parts: words) {
        try PeftModel(root, config)
      }
    }
    refuses("rank", "conv", "2 groups") { $0.rank = 3 }
    refuses("init_lora_weights", "pissa") { $0.initialization = .pissa }
    refuses("use_dora", "groups") { $0.usesDoRA = true }
    refuses("alora_invocation_tokens") { $0.invocationTokens = [1] }
  }
}
