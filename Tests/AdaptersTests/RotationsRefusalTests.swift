import Adapters
import JSONValues
import Models
import TestSupport
import Testing

/// What these methods refuse, and what they say then.
@Suite struct RotationsRefusalTests {
  @Test func blocks() throws {
    let oft = onAllLinear(OFTConfig()) { $0.blockCount = 4 }
    try expectRefusal(oft, "r and oft_block_size", "4 and 32")
    try expectRefusal(
      onAllLinear(OFTConfig()) { $0.blockSize = 0 }, "r and oft_block_size", "0 and 0")
    try expectRefusal(
      onAllLinear(OFTConfig()) { $0.blockSize = 1 }, "oft_block_size for model.layers.0")
    try expectRefusal(onAllLinear(OFTConfig()) { $0.seriesTerms = 1 }, "num_cayley_neumann_terms")
    try expectRefusal(onAllLinear(OFTConfig()) { $0.eps = 0 }, "eps is 0")
    try expectRefusal(onAllLinear(OFTConfig()) { $0.blockDropout = 1 }, "module_dropout")
    try expectRefusal(
      onAllLinear(BOFTConfig()) { $0.blockSize = 3 }, "boft_block_size for model.layers.0",
      "a divisor of its 16 inputs", "is 3")
    try expectRefusal(
      onAllLinear(BOFTConfig()) { ($0.blockSize, $0.blockCount) = (0, 5) }, "boft_block_num for",
      "is 5"
    )
    try expectRefusal(
      onAllLinear(BOFTConfig()) { $0.blockCount = 4 }, "boft_block_size and boft_block_num",
      "4 and 4")
    // 24 inputs are 6 blocks of 4, which 4 does not divide.
    try expectRefusal(
      onAllLinear(BOFTConfig()) { $0.factorCount = 3 }, "boft_n_butterfly_factor for", "down_proj",
      "6 blocks of 4")
    try expectRefusal(
      onAllLinear(BOFTConfig()) { ($0.blockSize, $0.factorCount) = (1, 2) },
      "boft_n_butterfly_factor")
    try expectRefusal(
      onAllLinear(BOFTConfig()) { $0.factorCount = 0 }, "boft_n_butterfly_factor is 0")
    try expectRefusal(
      onAllLinear(RoAdConfig()) { $0.groupSize = 16 }, "group_size for", "k_proj", "its 8 outputs")
    try expectRefusal(onAllLinear(RoAdConfig()) { $0.groupSize = 3 }, "group_size is 3")
  }

  @Test func ranks() throws {
    try expectRefusal(onAllLinear(HRAConfig()) { $0.rank = 0 }, "rank (r) is 0")
    try expectRefusal(
      onAllLinear(HRAConfig()) { ($0.rank, $0.orthogonalizes) = (17, true) }, "rank (r) for",
      "16 inputs")
    try expectRefusal(onAllLinear(GLoRAConfig()) { $0.rank = -1 }, "rank (r) is -1")
    try expectRefusal(onAllLinear(DEFTConfig()) { $0.rank = 0 }, "rank (r) is 0")
    try expectRefusal(onAllLinear(PSOFTConfig()) { $0.rank = 9 }, "rank (r) for", "k_proj", ", 8")
    try expectRefusal(
      onAllLinear(PSOFTConfig(rank: 4)) { ($0.usesSeries, $0.seriesBound) = (true, 1) },
      "cayley_neumann_eps is 1")
    try expectRefusal(
      onAllLinear(OSFConfig()) { $0.keptRank = .count(8) }, "effective_rank for", "is 8")
    try expectRefusal(
      onAllLinear(OSFConfig()) { $0.keptRank = .share(0.1) }, "effective_rank", "is 0")
    try expectRefusal(
      onAllLinear(OSFConfig()) { $0.rankPattern = [PathPattern("(", .count(2))] }, "rank_pattern")
  }

  @Test func others() throws {
    try expectRefusal(
      onAllLinear(GLoRAConfig()) {
        ($0.weightForm, $0.inputForm, $0.biasForm) = (.none, .none, .none)
      },
      "config_A_B, config_C and config_D_E")
    try expectRefusal(
      onAllLinear(GLoRAConfig()) { $0.weightForm = .none }, "config_A_B for", "it has no bias")
    try expectRefusal(
      IA3Config(targetModules: .names(["q_proj"]), feedforwardModules: .names(["up_proj"])),
      "feedforward_modules is up_proj")
    try expectRefusal(
      IA3Config(targetModules: nil, feedforwardModules: .allLinear), "feedforward_modules")
    try expectRefusal(LNTuningConfig(targetModules: .allLinear), "target_modules is all-linear")
    try expectRefusal(
      LNTuningConfig(targetModules: .names(["nrom"])), "nrom", "input_layernorm")
  }

  @Test(arguments: [
    ("ROAD", "variant", "road_3", "road_1, road_2, road_4"),
    ("GLORA", "config_C", "constant", "lora, vector, none"),
    ("GLORA", "config_D_E", "lora", "vector, constant, none"),
    ("DEFT", "decomposition_method", "svd", "relu, qr"),
    ("PSOFT", "ab_svd_init", "olora", "psoft_init, pissa_init"),
    ("HRA", "bias", "lora_only", "none, all, hra_only"),
    ("OSF", "effective_rank", "half", "a whole number"),
  ])
  func choices(_ type: String, _ field: String, _ value: String, _ expected: String) {
    let json = JSON.object(
      JSONObject([("peft_type", .string(type)), (field, .string(value))]))
    expectRefusal(field, value, expected) {
      try AdapterMethods.configuration(json: json, path: "x")
    }
  }

  @Test func layersWithoutBiasTakeNoBEFT() throws {
    try withModel { _, model in
      let peft = try PeftModel(model, BEFTConfig())
      expectRefusal("BEFT", "v_proj", "has no bias") {
        try peft.mergeAdapter()
      }
    }
  }
}
