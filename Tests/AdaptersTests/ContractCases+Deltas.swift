import Adapters
import Layers

extension ContractCases {
  /// Methods that add a matrix of a form of its own.
  static let deltas: [ContractCase] =
    kronecker + shards + sparse + spectral + normed + networks

  private static let kronecker: [ContractCase] = [
    ContractCase(
      name: "loha",
      configuration: changed { (config: inout LoHaConfig) in
        (config.rank, config.alpha, config.targetModules) = (3, 5, .allLinear)
        config.rankPattern = [PathPattern("k_proj", 2)]
        config.alphaPattern = [PathPattern(#".*\.0\..*"#, 2.5)]
      }),
    ContractCase(
      name: "loha with dropout of rows, random",
      configuration: changed { (config: inout LoHaConfig) in
        (config.rank, config.targetModules, config.rankDropout) = (2, some, 0.4)
        config.startsAtIdentity = false
      }, isIdentity: false, hasDropout: true),
    ContractCase(
      name: "lokr",
      configuration: changed { (config: inout LoKrConfig) in
        (config.rank, config.alpha, config.targetModules) = (2, 3, .allLinear)
        config.alphaPattern = [PathPattern("k_proj", 7)]
      }),
    ContractCase(
      name: "lokr, both decomposed, lycoris",
      configuration: changed { (config: inout LoKrConfig) in
        (config.rank, config.targetModules, config.decomposesBoth) = (1, .allLinear, true)
        config.initialization = .lycoris
        config.rankPattern = [PathPattern("up_proj", 4)]
      }),
    ContractCase(
      name: "lokr, both decomposed",
      configuration: changed { (config: inout LoKrConfig) in
        (config.rank, config.targetModules, config.decomposesBoth) = (1, some, true)
      }),
    ContractCase(
      name: "lokr by a factor, with dropout of rows and modules",
      configuration: changed { (config: inout LoKrConfig) in
        (config.rank, config.targetModules, config.decomposeFactor) = (8, some, 8)
        (config.rankDropout, config.rescalesRankDropout, config.moduleDropout) = (0.4, true, 0.3)
        config.initialization = .random
      }, isIdentity: false, hasDropout: true),
  ]

  private static let shards: [ContractCase] = [
    ContractCase(
      name: "miss with a remainder",
      configuration: changed { (config: inout MissConfig) in
        (config.rank, config.targetModules) = (5, .allLinear)
      }),
    ContractCase(
      name: "miss, random, with dropout",
      configuration: changed { (config: inout MissConfig) in
        (config.rank, config.targetModules, config.dropout) = (4, some, 0.5)
        config.variant = .random
      }, isIdentity: false, hasDropout: true),
    ContractCase(
      name: "miss, bat",
      configuration: changed { (config: inout MissConfig) in
        (config.rank, config.targetModules, config.variant) = (4, .allLinear, .bat)
      }),
    ContractCase(
      name: "miss, mini",
      configuration: changed { (config: inout MissConfig) in
        (config.rank, config.targetModules, config.variant) = (5, .allLinear, .mini)
        config.miniRank = 4
      }),
    ContractCase(
      name: "c3a",
      configuration: changed { (config: inout C3AConfig) in
        (config.blockSize, config.targetModules) = (8, .allLinear)
        config.blockSizePattern = [PathPattern("down_proj", 4)]
      }, isIdentity: false),
    ContractCase(
      name: "c3a, zero",
      configuration: changed { (config: inout C3AConfig) in
        (config.blockSize, config.targetModules, config.initialization) = (1, some, .zero)
      }),
    ContractCase(
      name: "c3a, gaussian",
      configuration: changed { (config: inout C3AConfig) in
        (config.blockSize, config.targetModules, config.initialization) = (2, some, .gaussian)
      }, isIdentity: false),
    ContractCase(
      name: "c3a, kaiming",
      configuration: changed { (config: inout C3AConfig) in
        (config.blockSize, config.targetModules, config.initialization) = (8, some, .kaimingUniform)
      }, isIdentity: false),
  ]

  private static let sparse: [ContractCase] = [
    ContractCase(
      name: "shira",
      configuration: changed { (config: inout ShiraConfig) in
        (config.rank, config.targetModules) = (3, .allLinear)
      }),
    ContractCase(
      name: "shira with a seed, random",
      configuration: changed { (config: inout ShiraConfig) in
        (config.rank, config.targetModules, config.randomSeed) = (2, some, 5)
        config.startsAtIdentity = false
      }, isIdentity: false),
    ContractCase(
      name: "supertuning",
      configuration: changed { (config: inout SuperTuningConfig) in
        (config.sparsity, config.targetModules) = (0.7, .allLinear)
      }),
    ContractCase(
      name: "supertuning, smallest, places not saved, random",
      configuration: changed { (config: inout SuperTuningConfig) in
        (config.sparsity, config.targetModules, config.selectsLargest) = (0.9, some, false)
        (config.savesIndices, config.startsAtIdentity) = (false, false)
      }, isIdentity: false),
    ContractCase(
      name: "supertuning with a lora and dropout",
      configuration: changed { (config: inout SuperTuningConfig) in
        (config.sparsity, config.targetModules) = (0.9, some)
        (config.rank, config.dropout) = (2, 0.5)
      }, hasDropout: true),
  ]

  private static let spectral: [ContractCase] =
    [
      ContractCase(
        name: "fourierft",
        configuration: changed { (config: inout FourierFTConfig) in
          (config.frequencyCount, config.targetModules) = (100, .allLinear)
          config.frequencyCountPattern = [PathPattern("q_proj", 30)]
        }, isIdentity: false),
      ContractCase(
        name: "fourierft, zero",
        configuration: changed { (config: inout FourierFTConfig) in
          (config.frequencyCount, config.targetModules, config.locationSeed) = (60, some, 3)
          config.startsAtIdentity = true
        }),
      ContractCase(
        name: "waveft without transform, in proportion",
        configuration: changed { (config: inout WaveFTConfig) in
          (config.frequencyCount, config.targetModules) = (50, .allLinear)
          (config.usesTransform, config.isProportional) = (false, true)
        }),
      ContractCase(
        name: "waveft, random",
        configuration: changed { (config: inout WaveFTConfig) in
          (config.frequencyCount, config.targetModules) = (90, some)
          config.startsAtIdentity = false
          config.frequencyCountPattern = [PathPattern("v_proj", 20)]
        }, isIdentity: false),
    ]
    + ["db1", "db3", "sym4", "coif2"].map { wavelet in
      ContractCase(
        name: "waveft, \(wavelet)",
        configuration: changed { (config: inout WaveFTConfig) in
          (config.frequencyCount, config.targetModules, config.wavelet) = (80, .allLinear, wavelet)
          config.scaling = 5
        })
    }

  private static let normed: [ContractCase] = [
    ContractCase(
      name: "delora",
      configuration: changed { (config: inout DeloraConfig) in
        (config.rank, config.lambda, config.targetModules) = (4, 2, .allLinear)
        config.rankPattern = [PathPattern("q_proj", 2)]
        config.lambdaPattern = [PathPattern("v_proj", 0.5)]
      }),
    ContractCase(
      name: "delora, random, with dropout",
      configuration: changed { (config: inout DeloraConfig) in
        (config.rank, config.lambda, config.targetModules) = (3, 1, some)
        (config.dropout, config.startsAtIdentity) = (0.4, false)
      }, isIdentity: false, hasDropout: true),
    ContractCase(
      name: "gralora",
      configuration: changed { (config: inout GraloraConfig) in
        (config.rank, config.alpha, config.blockCount) = (8, 12, 4)
        config.targetModules = .allLinear
      }),
    ContractCase(
      name: "gralora with a hybrid rank, random, with dropout",
      configuration: changed { (config: inout GraloraConfig) in
        (config.rank, config.alpha, config.hybridRank) = (4, 6, 2)
        (config.targetModules, config.dropout, config.startsAtIdentity) = (some, 0.3, false)
      }, isIdentity: false, hasDropout: true),
    ContractCase(
      name: "hira",
      configuration: changed { (config: inout HiraConfig) in
        (config.rank, config.targetModules) = (4, .allLinear)
        config.rankPattern = [PathPattern("o_proj", 2)]
      }),
    ContractCase(
      name: "hira, gaussian, with dropout",
      configuration: changed { (config: inout HiraConfig) in
        (config.rank, config.targetModules, config.dropout) = (4, some, 0.5)
        config.initialization = .gaussian
      }, hasDropout: true),
    ContractCase(
      name: "hira, random",
      configuration: changed { (config: inout HiraConfig) in
        (config.rank, config.targetModules, config.initialization) = (2, some, .random)
      }, isIdentity: false),
  ]

  private static let networks: [ContractCase] = [
    ContractCase(
      name: "peanut",
      configuration: changed { (config: inout PeanutConfig) in
        (config.rank, config.targetModules) = (4, .allLinear)
      }),
    ContractCase(
      name: "peanut, deep, random",
      configuration: changed { (config: inout PeanutConfig) in
        (config.rank, config.depth, config.activation, config.scaling) = (4, 2, .silu, 3)
        (config.targetModules, config.startsAtIdentity) = (some, false)
      }, isIdentity: false),
    ContractCase(
      name: "lily",
      configuration: changed { (config: inout LilyConfig) in
        (config.rank, config.targetModules) = (4, .allLinear)
      }, mergeError: nil),
    ContractCase(
      name: "lily, one A for two layers, random",
      configuration: changed { (config: inout LilyConfig) in
        (config.rank, config.stride, config.expertCount, config.scaling) = (3, 2, 3, 2)
        (config.targetModules, config.startsAtIdentity) = (some, false)
      }, isIdentity: false, mergeError: nil),
  ]
}
