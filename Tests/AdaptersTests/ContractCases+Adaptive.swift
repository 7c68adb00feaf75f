import Adapters

/// Methods that choose in training what is trained, or by task what acts.
extension ContractCases {
  static let adaptive: [ContractCase] = [
    ContractCase(
      name: "adalora",
      configuration: AdaLoRAConfig(targetRank: 2, initialRank: 4, targetModules: .allLinear)),
    ContractCase(
      name: "adalora with masks",
      configuration: changed(
        AdaLoRAConfig(targetRank: 2, initialRank: 3, alpha: 0, targetModules: some)
      ) {
        $0.startsAtIdentity = false
        $0.dropout = 0.5
        $0.rankMasks = [
          "model.layers.0.self_attn.q_proj": [true, false, true],
          "model.layers.1.mlp.down_proj": [false, false, false],
        ]
      }, isIdentity: false, hasDropout: true),
    ContractCase(
      name: "adamss",
      configuration: AdamssConfig(
        rank: 5, subspaceCount: 3, subspaceRank: 2, targetModules: .allLinear)),
    ContractCase(
      name: "adamss, all singular values, allocated, random",
      configuration: changed(
        AdamssConfig(subspaceCount: 4, subspaceRank: 3, targetModules: some)
      ) {
        $0.startsAtIdentity = false
        $0.usesDynamicRank = true
        $0.randomSeed = 7
        $0.usesAllocation = true
      }, isIdentity: false),
    ContractCase(
      name: "poly", configuration: PolyConfig(rank: 4, taskCount: 2, targetModules: .allLinear),
      mergeError: nil, hasDropout: true),
    ContractCase(
      name: "poly, split, random",
      configuration: changed(
        PolyConfig(rank: 3, taskCount: 1, skillCount: 2, splitCount: 4, targetModules: some)
      ) { $0.startsAtIdentity = false }, isIdentity: false, mergeError: nil, hasDropout: true),
  ]
}
