import Adapters
import JSONValues
import Models
import TestSupport
import Testing

/// What AdaLoRA, AdaMSS and Poly refuse, and what they say then.
@Suite struct AdaptiveRefusalTests {
  @Test func adaLoRA() throws {
    func refuse(_ parts: String..., change: (inout AdaLoRAConfig) -> Void) throws {
      let configuration = onAllLinear(AdaLoRAConfig(), change)
      expectRefusal(parts: parts) {
        try configuration.validate()
      }
    }
    try refuse("target_r is 16", "from 0 to init_r (12)") { $0.targetRank = 16 }
    try refuse("init_r is 0") { ($0.initialRank, $0.targetRank) = (0, 0) }
    try refuse("beta1 is 1.0") { $0.importanceDecay = 1 }
    try refuse("beta2 is 0.0") { $0.uncertaintyDecay = 0 }
    try refuse("orth_reg_weight is -1.0") { $0.orthogonality = -1 }
    try refuse("deltaT is 0") { $0.interval = 0 }
    try refuse("tinit is -1") { $0.initialSteps = -1 }
    try refuse("lora_dropout is 1.0") { $0.dropout = 1 }
    try refuse("total_step is 7", "tinit + tfinal (7)") {
      ($0.initialSteps, $0.finalSteps, $0.totalSteps) = (4, 3, 7)
    }
    try refuse("rank_pattern for x is 2", "init_r (12)") { $0.rankMasks = ["x": [true, false]] }
    try expectRefusal(
      onAllLinear(AdaLoRAConfig()) { $0.rankMasks = ["x": .init(repeating: true, count: 12)] },
      "rank_pattern is x")
    let wrong: [(String, JSON)] = [
      ("rank_pattern", ["layer": [true]]), ("rank_pattern", ["q.lora_E": [1]]),
      ("use_dora", true), ("layer_replication", [[0, 1]]),
    ]
    for (name, value) in wrong {
      var json = try #require(AdaLoRAConfig().json.objectValue)
      json[name] = value
      expectRefusal(name) {
        try AdapterMethods.configuration(json: .object(json), path: "x")
      }
    }
  }

  @Test func adaMSS() throws {
    try expectRefusal(onAllLinear(AdamssConfig()) { $0.rank = 0 }, "rank (r) is 0")
    try expectRefusal(onAllLinear(AdamssConfig()) { $0.subspaceCount = 0 }, "num_subspaces is 0")
    try expectRefusal(
      onAllLinear(AdamssConfig(rank: 4)) { $0.subspaceRank = 5 },
      "subspace_rank for model.layers.0.self_attn.q_proj is 5", "at most its 4")
    try expectRefusal(onAllLinear(AdamssConfig()) { $0.threshold = 2 }, "svd_threshold is 2.0")
    try expectRefusal(onAllLinear(AdamssConfig()) { $0.randomSeed = -1 }, "random_seed is -1")
    let allocated: [((inout AdamssConfig) -> Void, String)] = [
      ({ $0.asaTarget = 0 }, "asa_target_subspaces is 0"),
      ({ $0.asaInterval = 0 }, "mask_interval is 0"), ({ $0.asaEnd = 50 }, "init_warmup (50)"),
      ({ $0.asaExponent = 0 }, "asa_schedule_exponent is 0.0"),
      ({ $0.importanceDecay = 1 }, "asa_importance_beta is 1.0"),
    ]
    for (change, part) in allocated {
      try expectRefusal(
        onAllLinear(AdamssConfig()) {
          $0.usesAllocation = true
          change(&$0)
        }, part)
    }
    var json = try #require(AdamssConfig().json.objectValue)
    json["init_weights"] = "uniform"
    expectRefusal("init_weights") {
      try AdapterMethods.configuration(json: .object(json), path: "x")
    }
  }

  @Test func poly() throws {
    try expectRefusal(onAllLinear(PolyConfig()) { $0.rank = 0 }, "rank (r) is 0")
    try expectRefusal(onAllLinear(PolyConfig()) { $0.taskCount = 0 }, "n_tasks is 0")
    try expectRefusal(
      onAllLinear(PolyConfig()) { $0.splitCount = 3 }, "n_splits for model.layers.0", "16 inputs",
      "is 3")
    var json = try #require(PolyConfig().json.objectValue)
    json["poly_type"] = "other"
    expectRefusal("poly_type") {
      try AdapterMethods.configuration(json: .object(json), path: "x")
    }
    try expectRefusal(
      PolyConfig(taskCount: 2, targetModules: .names(["lm_head"])), "lm_head, the output head",
      in: TinyModel { $0.tiesEmbeddings = false })
  }
}
