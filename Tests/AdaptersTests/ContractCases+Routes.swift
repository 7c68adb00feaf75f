import Adapters
import Foundation
import Models
import TestSupport

/// Methods that take part in whole passes of a model.
extension ContractCases {
  static let routes: [ContractCase] = xlora + shadow

  private static let xlora: [ContractCase] = [
    mixture("xlora") { _ in },
    mixture("xlora, a deep classifier with dropout", hasDropout: true) {
      ($0.depth, $0.size, $0.dropout) = (3, 12, 0.5)
    },
    mixture("xlora, deep without dropout, layer by layer") {
      ($0.depth, $0.size, $0.dropout) = (2, 12, 0)
      $0.hasLayerwiseWeights = true
      ($0.temperature, $0.globalWeight) = (0.5, 1.5)
    },
    mixture("xlora, weights without softmax, a first pass with experts") {
      $0.usesSoftmax = false
      $0.firstPassWeight = 0.3
      $0.hasLayerwiseWeights = true
    },
    mixture("xlora, the largest ones normalised") {
      $0.topK = 2
      ($0.usesSoftmax, $0.usesSoftmaxOfTopK) = (false, true)
      $0.firstPassWeight = 0.3
    },
    mixture("xlora, experts that are trained") {
      $0.trainsExperts = true
      $0.firstPassWeight = 0.2
    },
  ]

  private static let shadow: [ContractCase] = [
    network("shadow", hasDropout: true) { _ in },
    network("shadow, narrow, of two blocks") {
      ($0.layerCount, $0.hiddenSize, $0.intermediateSize, $0.headCount) = (3, 12, 20, 2)
      $0.updateSize = 5
    },
    network("shadow, embeddings of its own, not the base at first", isIdentity: false) {
      $0.sharesEmbeddings = false
      ($0.startsAtIdentity, $0.alpha) = (false, 1)
    },
    network("shadow, one block, no loss of its own", last: 0) {
      $0.targetModules = .names(["layers.0"])
      $0.auxiliaryWeight = 0
    },
    network("shadow, of a directory") { $0.backbone = TestAdapters.decoder },
  ]

  private static func mixture(
    _ name: String, hasDropout: Bool = false, _ change: (inout XLoRAConfig) -> Void
  ) -> ContractCase {
    var config = XLoRAConfig(adapters: TestAdapters.experts)
    change(&config)
    return ContractCase(
      name: name, configuration: config, isIdentity: false, mergeError: nil, hasDropout: hasDropout)
  }

  private static func network(
    _ name: String, isIdentity: Bool = true, hasDropout: Bool = false, last: Int = 1,
    _ change: (inout ShadowConfig) -> Void
  ) -> ContractCase {
    var config = ShadowConfig(rank: 4, dropout: hasDropout ? 0.3 : 0)
    config.alpha = 0.5
    change(&config)
    return ContractCase(
      name: name, configuration: config, isIdentity: isIdentity, mergeError: nil,
      hasDropout: hasDropout, unusedKeys: ["layers.\(last).shadow_update"])
  }
}

/// Directories that configurations name, which last as long as the tests run.
enum TestAdapters {
  /// Three LoRA adapters for ``TinyModel``, of different ranks and layers.
  static let experts: [String: String] = {
    let targets: [(String, [String])] = [
      ("0", ["q_proj", "down_proj"]), ("1", ["q_proj", "v_proj", "down_proj"]),
      ("2", ["q_proj", "gate_proj"]),
    ]
    var result: [String: String] = [:]
    for (number, (name, layers)) in targets.enumerated() {
      var config = LoRAConfig(rank: 2 + number, alpha: 8, targetModules: .names(layers))
      config.initialization = .random
      result[name] = path("expert-\(name)") { directory in
        try TinyModel().write(to: directory + "/base")
        let model = try AutoModelForCausalLM.fromPretrained(directory + "/base")
        try PeftModel(model, config, seed: UInt64(number)).savePretrained(directory)
      }
    }
    return result
  }()

  /// A decoder with the vocabulary of ``TinyModel`` and another width.
  static let decoder = path("decoder") { directory in
    var model = TinyModel()
    (model.hiddenSize, model.layerCount, model.seed) = (8, 1, 5)
    try model.write(to: directory)
  }

  private static let root: String = {
    let path = FileManager.default.temporaryDirectory
      .appendingPathComponent("graft-test-\(UUID().uuidString)").path
    atexit { try? FileManager.default.removeItem(atPath: TestAdapters.root) }
    return path
  }()

  private static func path(_ name: String, _ write: (String) throws -> Void) -> String {
    let directory = root + "/" + name
    do {
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true)
      try write(directory)
    } catch { preconditionFailure("\(directory): \(error)") }
    return directory
  }
}
