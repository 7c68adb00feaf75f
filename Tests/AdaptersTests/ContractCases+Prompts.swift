import Adapters

extension ContractCases {
  static let prompts: [ContractCase] = [
    prompt("prompt tuning", PromptTuningConfig(virtualTokens: 5)),
    prompt(
      "prompt tuning, vocabulary",
      PromptTuningConfig(virtualTokens: 3, initialization: .vocabulary)),
    prompt(
      "prompt tuning, text",
      PromptTuningConfig(
        virtualTokens: 4, text: "Say", tokenIDs: [83, 97, 121], tokenizerName: "somewhere")),
    prompt("prefix tuning", PrefixTuningConfig(virtualTokens: 4)),
    prompt("prefix tuning, zero", PrefixTuningConfig(virtualTokens: 4, beginsAtZero: true)),
    prompt(
      "prefix tuning, projection",
      PrefixTuningConfig(virtualTokens: 4, projection: true, encoderSize: 6)),
    prompt(
      "prefix tuning, projection, zero",
      PrefixTuningConfig(virtualTokens: 4, projection: true, beginsAtZero: true)),
    prompt("p-tuning", PromptEncoderConfig(virtualTokens: 4, encoderSize: 6)),
    prompt("p-tuning, lstm", PromptEncoderConfig(virtualTokens: 4, encoder: .lstm)),
    ContractCase(
      name: "p-tuning, lstm with dropout", configuration: droppingLSTM, isIdentity: false,
      mergeError: nil, hasDropout: true),
    prompt(
      "multitask prompt tuning", MultitaskPromptTuningConfig(virtualTokens: 4, tasks: 3, ranks: 2)),
    prompt("cpt", context),
    prompt("cpt, decay", decayingContext),
    prompt("cartridge", CartridgeConfig(virtualTokens: 4)),
    prompt("cartridge, nothing frozen", CartridgeConfig(virtualTokens: 3, frozenTokens: 0)),
    ContractCase(
      name: "adaption prompt", configuration: AdaptionPromptConfig(length: 3, layers: 2),
      mergeError: nil, step: 2e-2),
    ContractCase(
      name: "adaption prompt, last layer",
      configuration: AdaptionPromptConfig(length: 4, layers: 1),
      mergeError: nil, step: 2e-2),
    ContractCase(
      name: "trainable tokens",
      configuration: TrainableTokensConfig(tokenIndices: [200, 3, 41, 255])),
    ContractCase(name: "trainable tokens, random", configuration: randomTokens, isIdentity: false),
    ContractCase(name: "lora with tokens", configuration: lora(.inputEmbeddings([7, 200, 9]))),
    ContractCase(
      name: "lora with tokens of both tables",
      configuration: lora(.modules(["embed_tokens": [7, 200], "lm_head": [3, 41]]))),
    ContractCase(
      name: "lora on the head with tokens",
      configuration: lora(.inputEmbeddings([7, 200, 9]), ["lm_head", "q_proj"])),
  ]

  private static func prompt(
    _ name: String, _ configuration: any AdapterConfiguration
  ) -> ContractCase {
    ContractCase(
      name: name, configuration: configuration, isIdentity: false, mergeError: nil, step: 1e-2)
  }

  private static var droppingLSTM: PromptEncoderConfig {
    var config = PromptEncoderConfig(virtualTokens: 5, encoder: .lstm, encoderSize: 7)
    config.encoderDropout = 0.4
    config.encoderLayers = 3
    return config
  }

  private static var context: CPTConfig {
    var config = CPTConfig(tokenIDs: [65, 66, 67, 68, 69, 70], tokenTypes: [1, 2, 3, 4, 4, 0])
    // Room enough in a model of few dimensions.
    (config.inputRadius, config.formRadius) = (10, 10)
    return config
  }

  private static var decayingContext: CPTConfig {
    var config = CPTConfig(
      tokenIDs: [1, 2, 3, 4, 5, 6, 7, 8, 9], tokenTypes: [1, 2, 3, 4, 5, 6, 7, 8, 8])
    (config.inputRadius, config.formRadius) = (10, 10)
    config.lossWeighting = .decay
    config.lossDecay = 0.5
    return config
  }

  private static var randomTokens: TrainableTokensConfig {
    var config = TrainableTokensConfig(tokenIndices: [200, 3])
    config.beginsAsBase = false
    config.targetModules = .names(["embed_tokens"])
    return config
  }

  private static func lora(
    _ tokens: TokenSelection, _ targets: [String] = ["q_proj", "up_proj"]
  ) -> LoRAConfig {
    var config = LoRAConfig(rank: 3, targetModules: .names(targets))
    config.trainableTokens = tokens
    return config
  }
}
