import Adapters

extension ContractCases {
  static let lora: [ContractCase] = plain + starts + variants + embeddings

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
    ContractCase(
      name: "bdlora",
      configuration: made {
        var blocks = BDLoRAConfig()
        (blocks.blockDiagonalA, blocks.blockDiagonalB) = (["o_proj", "down_proj"], ["q_proj"])
        (blocks.blocks, blocks.isStrict) = (2, false)
        $0.bdLoRA = blocks
      }),
    ContractCase(
      name: "bdlora, random with dropout",
      configuration: made {
        var blocks = BDLoRAConfig()
        (blocks.blockDiagonalA, blocks.blockDiagonalB) = (["mlp"], ["self_attn"])
        blocks.blocks = 4
        ($0.bdLoRA, $0.dropout, $0.initialization) = (blocks, 0.5, .random)
      }, isIdentity: false, hasDropout: true),
    // W lacks its smallest components from the start.
    ContractCase(
      name: "kasa", configuration: made { $0.kasa = KaSAConfig() }, isIdentity: false,
      startsAlike: false),
    ContractCase(
      name: "kasa with dropout",
      configuration: made { ($0.kasa, $0.dropout) = (KaSAConfig(), 0.5) }, isIdentity: false,
      startsAlike: false, hasDropout: true),
    ContractCase(
      name: "alora", configuration: made { $0.invocationTokens = [200, 41] }, mergeError: nil),
    ContractCase(
      name: "target_parameters",
      configuration: made {
        $0.targetModules = .names(["q_proj"])
        $0.targetParameters = ["up_proj.weight", "layers.1.mlp.down_proj.weight"]
      }),
    ContractCase(
      name: "lora, tied",
      configuration: made {
        $0.ensuresWeightTying = true
        $0.targetModules = .names(["lm_head", "q_proj"])
      }),
    ContractCase(
      name: "velora",
      configuration: made {
        var velora = VeLoRAConfig()
        velora.groupCount = 5
        $0.veLoRA = velora
      }),
    ContractCase(
      name: "velora, random, with dropout",
      configuration: made {
        var velora = VeLoRAConfig()
        (velora.groupCount, velora.start) = (4, .random)
        ($0.veLoRA, $0.dropout, $0.initialization) = (velora, 0.5, .random)
      }, isIdentity: false, hasDropout: true),
    // In evaluation nothing depends on what is drawn in training.
    ContractCase(
      name: "monteclora",
      configuration: made {
        var settings = MonteCLoRAConfig()
        (settings.sampleCount, settings.sampleScale, settings.usesEntropy) = (3, 1e-2, true)
        $0.monteCLoRA = settings
      }, hasDropout: true, unusedKeys: ["lora_monteclora_sampler."]),
    ContractCase(
      name: "monteclora, pissa with dropout",
      configuration: made {
        ($0.monteCLoRA, $0.dropout, $0.initialization) = (MonteCLoRAConfig(), 0.3, .pissa)
      }, identityError: 1e-5, hasDropout: true, unusedKeys: ["lora_monteclora_sampler."]),
    // The model has no biases that it could be merged into.
    ContractCase(
      name: "lora_bias", configuration: made { $0.usesBias = true }, mergeError: nil),
  ]

  /// Data and quantised weights come later: until then these starts do nothing.
  private static let embeddings = [
    ContractCase(
      name: "lora, eva not calibrated", configuration: made { $0.initialization = .eva }),
    ContractCase(
      name: "lora, corda not calibrated", configuration: made { $0.initialization = .corda }),
    ContractCase(
      name: "lora on embeddings",
      configuration: made { $0.targetModules = .names(["embed_tokens", "q_proj"]) }),
    ContractCase(
      name: "lora on embeddings with dropout, random",
      configuration: made {
        ($0.dropout, $0.initialization) = (0.5, .random)
        $0.targetModules = .names(["embed_tokens", "lm_head"])
      }, isIdentity: false, hasDropout: true),
    ContractCase(
      name: "dora on embeddings",
      configuration: made {
        $0.usesDoRA = true
        $0.targetModules = .names(["embed_tokens"])
      }),
    ContractCase(
      name: "mica on embeddings",
      configuration: made {
        $0.initialization = .mica
        $0.targetModules = .names(["embed_tokens"])
      }, startsAlike: false),
    ContractCase(
      name: "milora beside an embedding",
      configuration: made {
        $0.initialization = .milora
        $0.targetModules = .names(["embed_tokens", "v_proj"])
      }, identityError: 1e-5, startsAlike: false),
  ]

  private static func made(_ change: (inout LoRAConfig) -> Void = { _ in }) -> LoRAConfig {
    var config = LoRAConfig(rank: 4, targetModules: .allLinear)
    change(&config)
    return config
  }
}
