import Adapters

extension ContractCases {
  static let lora: [ContractCase] = plain + starts + variants

  private static let plain = [
    ContractCase(name: "lora", configuration: made()),
    ContractCase(
      name: "lora with dropout", configuration: made { $0.dropout = 0.5 }, hasDropout: true),
    ContractCase(
      name: "lora, random",
      configuration: made {
        ($0.rank, $0.alpha, $0.initialization) = (3, 5, .random)
        $0.targetModules = .names(["q_proj", "down_proj"])
      }, isIdentity: false),
    ContractCase(
      name: "lora, patterns",
      configuration: made {
        $0.usesRankStabilization = true
        $0.rankPattern = [PathPattern("mlp.*", 2), PathPattern("down_proj", 6)]
        $0.alphaPattern = [PathPattern("self_attn.q_proj", 3), PathPattern("q_proj", 5)]
      }),
  ]

  private static let starts =
    [
      ("gaussian", LoRAConfig.Initialization.gaussian), ("orthogonal", .orthogonal),
    ].map { name, start in
      ContractCase(name: "lora, \(name)", configuration: made { $0.initialization = start })
    } + [
      ContractCase(
        name: "lora, mica", configuration: made { $0.initialization = .mica }, startsAlike: false)
    ] + partsOfTheBase

  private static let partsOfTheBase = [
    ContractCase(
      name: "lora, pissa", configuration: made { $0.initialization = .pissa }, identityError: 1e-5),
    ContractCase(
      name: "lora, pissa_niter",
      configuration: made { $0.initialization = .pissaFast(iterations: 4) }, identityError: 1e-5),
    ContractCase(
      name: "lora, olora", configuration: made { $0.initialization = .olora }, identityError: 1e-5),
    ContractCase(
      name: "lora, milora", configuration: made { $0.initialization = .milora },
      identityError: 1e-5, startsAlike: false),
    ContractCase(
      name: "lora, eigen",
      configuration: made {
        $0.initialization = .eigen
        $0.targetModules = .names(["q_proj", "o_proj"])
      }, identityError: 1e-5, startsAlike: false),
    ContractCase(
      name: "lora, pissa with dropout and rsLoRA",
      configuration: made {
        ($0.initialization, $0.dropout, $0.usesRankStabilization) = (.pissa, 0.5, true)
      }, identityError: 1e-5, hasDropout: true),
  ]

  private static let variants = [
    ContractCase(name: "dora", configuration: made { $0.usesDoRA = true }),
    ContractCase(
      name: "dora with dropout",
      configuration: made { ($0.usesDoRA, $0.dropout) = (true, 0.5) }, hasDropout: true),
    ContractCase(
      name: "dora, random",
      configuration: made { ($0.usesDoRA, $0.initialization) = (true, .random) },
      isIdentity: false),
    ContractCase(
      name: "dora, pissa",
      configuration: made { ($0.usesDoRA, $0.initialization, $0.dropout) = (true, .pissa, 0.3) },
      identityError: 1e-5, hasDropout: true),
    // The model has no biases that it could be merged into.
    ContractCase(
      name: "lora_bias", configuration: made { $0.usesBias = true }, mergeError: nil),
  ]

  private static func made(_ change: (inout LoRAConfig) -> Void = { _ in }) -> LoRAConfig {
    var config = LoRAConfig(rank: 4, targetModules: .allLinear)
    change(&config)
    return config
  }
}
