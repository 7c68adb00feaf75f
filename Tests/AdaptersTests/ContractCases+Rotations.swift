import Adapters

/// Methods that scale, rotate or replace what a layer has.
extension ContractCases {
  static let rotations: [ContractCase] = scalings + reflections + blocks + subspaces

  private static let scalings: [ContractCase] = [
    ContractCase(name: "ia3", configuration: IA3Config()),
    ContractCase(
      name: "ia3, everything",
      configuration: IA3Config(
        targetModules: .allLinear, feedforwardModules: .pattern(#".*\.(up|down)_proj"#))),
    ContractCase(
      name: "ia3, random",
      configuration: with(IA3Config()) { $0.hasStandardInitialization = false },
      isIdentity: false),
    ContractCase(
      name: "road_1",
      configuration: RoAdConfig(groupSize: 8, targetModules: .names(["v_proj", "up_proj"]))),
    ContractCase(
      name: "road_2",
      configuration: RoAdConfig(variant: .two, groupSize: 4, targetModules: .allLinear)),
    ContractCase(
      name: "road_4",
      configuration: RoAdConfig(variant: .four, groupSize: 8, targetModules: .allLinear)),
    ContractCase(
      name: "road_4, random",
      configuration: with(RoAdConfig(variant: .four, groupSize: 2, targetModules: .allLinear)) {
        $0.hasStandardInitialization = false
      }, isIdentity: false),
    // The tiny model's layers have no bias to merge into.
    ContractCase(name: "beft", configuration: BEFTConfig(), mergeError: nil),
    ContractCase(
      name: "beft, random",
      configuration: with(BEFTConfig(targetModules: .allLinear)) {
        $0.hasStandardInitialization = false
      }, isIdentity: false, mergeError: nil),
    ContractCase(name: "ln_tuning", configuration: LNTuningConfig(), hasBaseType: true),
    ContractCase(
      name: "ln_tuning, one norm",
      configuration: LNTuningConfig(targetModules: .pattern(#".*\.0\.input_layernorm"#)),
      hasBaseType: true),
  ]

  private static let reflections: [ContractCase] = [
    ContractCase(
      name: "hra",
      configuration: HRAConfig(rank: 4, targetModules: .names(["q_proj", "down_proj"])),
      identityError: 1e-5),
    ContractCase(
      name: "hra, odd rank", configuration: HRAConfig(rank: 3, targetModules: .allLinear),
      isIdentity: false),
    ContractCase(
      name: "hra, orthogonal",
      configuration: HRAConfig(rank: 4, orthogonalizes: true, targetModules: .allLinear),
      isIdentity: false),
    ContractCase(
      name: "hra, random",
      configuration: with(HRAConfig(rank: 4)) {
        $0.hasStandardInitialization = false
        $0.layersToTransform = [1]
      }, isIdentity: false),
  ]

  private static let blocks: [ContractCase] = [
    ContractCase(name: "oft", configuration: OFTConfig(blockSize: 4, targetModules: .allLinear)),
    // Blocks of 16 in 16 and of 24 in 24 inputs.
    ContractCase(name: "oft, default", configuration: OFTConfig()),
    ContractCase(
      name: "oft, exact with dropout",
      configuration: with(OFTConfig(blockSize: 5, targetModules: .allLinear)) {
        $0.usesSeries = false
        $0.blockDropout = 0.5
      }, hasDropout: true),
    ContractCase(
      name: "oft, constrained and shared",
      configuration: with(OFTConfig(blockSize: 0, targetModules: .allLinear)) {
        $0.blockCount = 2
        $0.sharesBlocks = true
        $0.isConstrained = true
        $0.eps = 0.3
        $0.seriesTerms = 7
      }),
    ContractCase(
      name: "oft, random",
      configuration: with(OFTConfig(blockSize: 4)) {
        $0.seriesTerms = 3
        $0.hasStandardInitialization = false
      }, isIdentity: false),
    ContractCase(name: "boft", configuration: BOFTConfig(blockSize: 4, targetModules: .allLinear)),
    ContractCase(
      name: "boft, butterfly with dropout",
      configuration: with(BOFTConfig(blockSize: 2, factorCount: 3, targetModules: .allLinear)) {
        $0.blockDropout = 0.5
      }, hasDropout: true),
    ContractCase(
      name: "boft, random",
      configuration: with(BOFTConfig(blockSize: 0, factorCount: 2)) {
        $0.blockCount = 4
        $0.hasStandardInitialization = false
      }, isIdentity: false),
  ]

  private static let subspaces: [ContractCase] = [
    ContractCase(name: "glora", configuration: GLoRAConfig(rank: 4, targetModules: .allLinear)),
    ContractCase(name: "glora, vectors", configuration: GLoRAConfig(weightForm: .vector)),
    ContractCase(
      name: "glora, constants",
      configuration: GLoRAConfig(
        weightForm: .constant, inputForm: .none, biasForm: .none, targetModules: .allLinear)),
    ContractCase(
      name: "glora, random",
      configuration: with(GLoRAConfig(rank: 2)) { $0.hasStandardInitialization = false },
      isIdentity: false),
    ContractCase(name: "psoft", configuration: PSOFTConfig(rank: 6, targetModules: .allLinear)),
    ContractCase(
      name: "psoft, series with dropout",
      configuration: with(PSOFTConfig(rank: 8, alpha: 16)) {
        $0.usesSeries = true
        $0.seriesBound = 0.4
        $0.split = .symmetric
        $0.dropout = 0.5
      }, hasDropout: true),
    ContractCase(
      name: "psoft, randomised",
      configuration: with(PSOFTConfig(rank: 5, alpha: 3, targetModules: .allLinear)) {
        $0.decomposition = .lowrank
        $0.scalesInput = false
        $0.scalesOutput = false
      }),
    ContractCase(
      name: "psoft, free and random",
      configuration: with(PSOFTConfig(rank: 4)) {
        $0.isOrthogonal = false
        $0.hasStandardInitialization = false
      }, isIdentity: false),
    ContractCase(name: "osf", configuration: OSFConfig()),
    ContractCase(
      name: "osf, ranks",
      configuration: with(OSFConfig(keptRank: .share(0.3), targetModules: .allLinear)) {
        $0.rankPattern = [PathPattern(#"\.1\."#, .count(2)), PathPattern("proj$", .count(6))]
      }, identityError: 1e-5),
    ContractCase(
      name: "osf, random",
      configuration: with(OSFConfig(keptRank: .share(0.8))) {
        $0.hasStandardInitialization = false
      },
      isIdentity: false, mergeError: 1e-3),
    ContractCase(
      name: "deft", configuration: DEFTConfig(rank: 4, targetModules: .allLinear),
      int8IdentityError: 0.1),
    ContractCase(
      name: "deft, qr with dropout",
      configuration: with(DEFTConfig(rank: 3, decomposition: .qr, targetModules: .allLinear)) {
        $0.alpha = 5
        $0.dropout = 0.5
      }, identityError: 1e-5, int8IdentityError: 0.1, hasDropout: true),
    ContractCase(
      name: "deft, removing",
      // A rank below every layer's outputs: one that spans them all leaves nothing to train.
      configuration: with(DEFTConfig(rank: 4, decomposition: .qr)) { $0.onlyRemoves = true },
      isIdentity: false),
    ContractCase(
      name: "deft, random",
      configuration: with(DEFTConfig(rank: 4, targetModules: .allLinear)) {
        $0.initialScale = 4
        $0.hasStandardInitialization = false
      }, isIdentity: false),
  ]

  private static func with<Value>(_ value: Value, _ change: (inout Value) -> Void) -> Value {
    var value = value
    change(&value)
    return value
  }
}
