import Adapters
import Layers
import TestSupport
import Tensors
import Testing

/// Adapters on convolutions, where PEFT's numbers (`PartGoldenTests`) say nothing.
@Suite struct ConvolutionTests {
  private var config: LoRAConfig {
    LoRAConfig(rank: 4, alpha: 6, targetModules: .names(["conv"]))
  }

  /// A's kernel is spread as the base's is, so that merging holds; PEFT fails here.
  @Test func dilationIsTheBases() throws {
    let generator = Generator(seed: 2)
    let root = OneLayer(
      Convolution(
        DenseKernels(
          weight: Parameter(.randomNormal([5, 3, 3], generator: generator)),
          steps: ConvolutionSteps(stride: [1], padding: [2], dilation: [2]))), named: "conv")
    var config = self.config
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
      var config = self.config
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

  private func layer(_ shape: [Int], groups: Int = 1) -> OneLayer<Convolution> {
    OneLayer(
      Convolution(
        DenseKernels(
          weight: Parameter(.randomNormal(shape, generator: Generator(seed: 5))),
          steps: ConvolutionSteps(stride: shape.dropFirst(2).map { _ in 1 }, groups: groups))),
      named: "conv")
  }

  @Test func methodsRefuseConvolutionsThatTheyHaveNoFormulaFor() throws {
    let target = TargetModules.names(["conv"])
    func refuses(
      _ config: any AdapterConfiguration, _ shape: [Int], groups: Int = 1, _ words: String...
    ) {
      expectRefusal(parts: words) { try PeftModel(layer(shape, groups: groups), config) }
    }
    refuses(OFTConfig(blockSize: 4, targetModules: target), [6, 4, 3], "OFT", "conv")
    refuses(
      BOFTConfig(blockSize: 4, targetModules: target), [6, 4, 3, 3], groups: 2, "BOFT", "groups")
    refuses(HRAConfig(rank: 2, targetModules: target), [6, 4, 3, 3], groups: 2, "HRA", "groups")
    var loha = LoHaConfig()
    loha.targetModules = target
    refuses(loha, [6, 4, 2, 2, 2], "LOHA", "conv, over 3")
    var hira = HiraConfig()
    hira.targetModules = target
    refuses(hira, [6, 4, 3], groups: 2, "HIRA", "groups")
    refuses(IA3Config(targetModules: target, feedforwardModules: .names([])), [6, 4, 3], "IA3")
  }

  /// Two adapters that turn kernels act one after the other, in the layer as in its merged form.
  @Test func severalAdaptersActAsTheyAreMerged() throws {
    let root = layer([6, 4, 3, 3])
    var config = BOFTConfig(blockSize: 4, targetModules: .names(["conv"]))
    config.hasStandardInitialization = false
    let peft = try PeftModel(root, config)
    try peft.addAdapter("other", config)
    try peft.setAdapter(["default", "other"])
    let x = Tensor.randomNormal([2, 4, 6, 6], generator: Generator(seed: 6))
    let y = root.layer(x).detached()
    try peft.setAdapter(["default"])
    #expect(!root.layer(x).isEqual(to: y))
    try peft.setAdapter(["default", "other"])
    try peft.mergeAndUnload()
    expectClose(root.layer(x), y, absolute: 1e-3)
  }

  @Test func blockSizesThatDoNotDivideAreChangedWithAWarning() throws {
    let config = OFTConfig(blockSize: 5, targetModules: .names(["conv"]))
    let peft = try PeftModel(layer([6, 4, 3, 3]), config)
    #expect(peft.warnings.contains { $0.contains("oft_block_size 5") && $0.contains("conv") })
    #expect(peft.trainableParameters.first?.parameter.value.shape == [9, 6])
  }
}
