import Adapters

/// Methods whose layers share tensors, or that act between steps of training.
extension ContractCases {
  static let shared: [ContractCase] = [
    ContractCase(name: "vera", configuration: VeRAConfig(rank: 6, targetModules: .allLinear)),
    ContractCase(
      name: "vera with dropout, drawn anew",
      configuration: changed(VeRAConfig(rank: 4, targetModules: some)) {
        $0.dropout = 0.5
        $0.savesProjection = false
        $0.startsAtIdentity = false
        $0.initialScale = 0.2
      }, isIdentity: false, hasDropout: true),
    ContractCase(
      name: "pvera", configuration: PVeRAConfig(rank: 6, targetModules: .allLinear),
      hasDropout: true),
    ContractCase(
      name: "pvera with a seed, drawn anew",
      configuration: changed(PVeRAConfig(rank: 4, targetModules: some)) {
        $0.samplingSeed = 3
        $0.savesProjection = false
        $0.startsAtIdentity = false
      }, isIdentity: false, hasDropout: true),
    ContractCase(
      name: "randlora", configuration: RandLoRAConfig(rank: 4, alpha: 8, targetModules: .allLinear)),
    ContractCase(
      name: "randlora, sparse",
      configuration: changed(RandLoRAConfig(rank: 5, alpha: 10, targetModules: some)) {
        $0.isSparse = true
        $0.dropout = 0.5
      }, hasDropout: true),
    ContractCase(
      name: "randlora, very sparse, drawn anew",
      configuration: changed(RandLoRAConfig(rank: 3, alpha: 3, targetModules: some)) {
        $0.isVerySparse = true
        $0.savesProjection = false
        $0.startsAtIdentity = false
      }, isIdentity: false),
    ContractCase(
      name: "vblora",
      configuration: changed(
        VBLoRAConfig(vectorCount: 12, vectorLength: 8, targetModules: .allLinear)
      ) { $0.bankBound = 0.5 }, isIdentity: false),
    ContractCase(
      name: "vblora, largest only",
      configuration: changed(
        VBLoRAConfig(rank: 3, vectorCount: 20, vectorLength: 4, targetModules: some)
      ) {
        $0.savesOnlyMixed = true
        $0.mixedCount = 3
        $0.dropout = 0.5
        $0.bankBound = 0.5
      }, isIdentity: false, hasDropout: true, fileError: 1e-5),
    ContractCase(
      name: "unilora",
      configuration: changed(
        UniLoRAConfig(rank: 4, vectorLength: 100, targetModules: .allLinear)
      ) { $0.initialBound = 0.8 }, isIdentity: false),
    ContractCase(
      name: "unilora with indices",
      configuration: changed(UniLoRAConfig(rank: 2, vectorLength: 30, targetModules: some)) {
        $0.savesIndices = true
        $0.startsSmall = false
        $0.dropout = 0.5
      }, isIdentity: false, hasDropout: true),
    ContractCase(
      name: "tinylora",
      configuration: TinyLoRAConfig(rank: 4, vectorLength: 8, targetModules: .allLinear)),
    ContractCase(
      name: "tinylora, shared, drawn anew",
      configuration: changed(TinyLoRAConfig(rank: 20, vectorLength: 5, targetModules: some)) {
        $0.sharing = 0.7
        $0.initialization = .uniform
        $0.initialBound = 0.5
        $0.savesProjection = false
        $0.dropout = 0.5
      }, isIdentity: false, hasDropout: true),
    ContractCase(
      name: "frod", configuration: FRoDConfig(sparseRate: 0.1, targetModules: .allLinear)),
    ContractCase(
      name: "frod, drawn anew",
      configuration: changed(FRoDConfig(sparseRate: 0, targetModules: some)) {
        $0.savesProjection = false
        $0.startsAtIdentity = false
        $0.dropout = 0.5
      }, isIdentity: false, hasDropout: true),
  ]
}
