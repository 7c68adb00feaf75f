import Adapters
import Foundation
import JSONValues
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// Extracting, resizing and combining adapters.
@Suite struct DecompositionAdapterTests {
  private func model(_ directory: String) throws -> DecoderForCausalLM {
    try AutoModelForCausalLM.fromPretrained(directory)
  }

  private func adapter(
    _ paths: [String: (Int, Double)], rank: Int = 4, alpha: Double = 8, seed: UInt64 = 1,
    isStabilized: Bool = false
  ) throws -> LowRankAdapter {
    var configuration = LoRAConfig(rank: rank, alpha: alpha, targetModules: .names(["q", "v"]))
    configuration.usesRankStabilization = isStabilized
    configuration.rankPattern = paths.filter { $0.value.0 != rank }
      .map { PathPattern($0.key, $0.value.0) }
    configuration.alphaPattern = paths.filter { $0.value.1 != alpha }
      .map { PathPattern($0.key, $0.value.1) }
    let generator = Generator(seed: seed)
    var tensors: [(key: String, tensor: Tensor)] = []
    for (path, (rank, _)) in paths.sorted(by: { $0.key < $1.key }) {
      tensors.append(
        (
          "base_model.model.\(path).lora_A.weight",
          Tensor.randomNormal([rank, 9], generator: generator)
        ))
      tensors.append(
        (
          "base_model.model.\(path).lora_B.weight",
          Tensor.randomNormal([12, rank], generator: generator)
        ))
    }
    return try LowRankAdapter(configuration: configuration, tensors: tensors, source: "adapter")
  }

  private func norm(_ tensor: Tensor) -> Double { tensor.norm().item() }

  @Test func writtenOutItHasACard() throws {
    var source = try adapter(["a.q": (4, 8)])
    source.configuration.baseModel = "somebody/tiny"
    try withTemporaryDirectory { directory in
      try source.write(to: directory + "/adapter")
      let card = try String(contentsOfFile: directory + "/adapter/README.md", encoding: .utf8)
      #expect(card.contains("base_model: somebody/tiny\n") && card.contains("- lora\n"))
      #expect(try LowRankAdapter(directory: directory + "/adapter").layers.count == 1)
    }
  }

  // MARK: resize

  @Test(arguments: [false, true]) func resizedDownItIsTheNearest(_ isStabilized: Bool) throws {
    let source = try adapter(["a.q": (4, 8), "a.v": (6, 3)], isStabilized: isStabilized)
    for rank in 1...8 {
      let (resized, losses) = try source.resized(to: .rank(rank))
      for (before, (after, loss)) in zip(source.layers, zip(resized.layers, losses)) {
        let exact = try SingularValueDecomposition(before.update.matrix())
        let error = norm(before.update.matrix() - after.update.matrix())
        #expect(after.update.rank == rank && loss.rankBefore == before.update.rank)
        #expect(abs(error - exact.error(atRank: rank)) < 1e-10)
        #expect(abs(loss.lost - exact.lostShare(atRank: rank)) < 1e-10)
        // What a reader makes of the configuration is the scale of the factors.
        let read = try resized.configuration.scale(ofLayer: after.path, rank: rank)
        #expect(abs(read - before.update.scale) < 1e-12)
        if rank > before.update.rank {
          #expect(
            after.update.a.narrowed(0, 0..<before.update.rank).isEqual(to: before.update.a))
          #expect(norm(after.update.a.narrowed(0, before.update.rank..<rank)) == 0)
        }
      }
    }
  }

  @Test func grownRowsCanBeTrained() throws {
    let source = try adapter(["a.q": (4, 8)])
    let (grown, losses) = try source.resized(to: .rank(6), growth: .trainable(seed: 3))
    let (before, after) = (source.layers[0].update, grown.layers[0].update)
    #expect(losses[0].lost == 0)
    #expect(norm(after.a.narrowed(0, 4..<6)) > 0 && norm(after.b.narrowed(1, 4..<6)) == 0)
    #expect(norm(after.matrix() - before.matrix()) == 0)
  }

  @Test func energyChoosesRanks() throws {
    let source = try adapter(["a.q": (4, 8), "a.v": (6, 3)])
    let (resized, losses) = try source.resized(to: .energy(0.9))
    for (layer, loss) in zip(source.layers, losses) {
      let exact = try SingularValueDecomposition(layer.update.matrix())
      #expect(loss.rank == exact.rank(retaining: 0.9) && loss.lost <= 0.1)
      #expect(loss.rank == 1 || exact.lostShare(atRank: loss.rank - 1) > 0.1)
    }
    #expect(losses.totalLost <= 0.1 && losses.totalLost > 0)
    #expect(resized.tensors.count == 4)
    let same = try source.resized(to: .energy(1))
    #expect(same.adapter.layers.map(\.update.rank) == [4, 6])
    // An adapter that does nothing keeps rows that can be trained.
    var idle = source
    idle.layers[0].update.b = idle.layers[0].update.b * 0.0
    let (cut, _) = try idle.resized(to: .rank(2))
    #expect(norm(cut.layers[0].update.a) > 0 && norm(cut.layers[0].update.b) == 0)
    for choice in [RankChoice.rank(0), .energy(0), .energy(1.1), .energy(.nan)] {
      #expect(throws: DecompositionError.self) { try source.resized(to: choice) }
    }
  }

  /// Paths that end with each other: a reader that takes the first match must find the right one.
  @Test func patternsAreNotAmbiguous() throws {
    let paths = ["q": (4, 8.0), "a.q": (2, 8.0), "b.a.q": (6, 8.0), "c.q": (4, 8.0)]
    var configuration = LoRAConfig(rank: 4, alpha: 8, targetModules: .names(["q"]))
    configuration.rankPattern = [PathPattern("^a.q", 2), PathPattern("^b.a.q", 6)]
    var tensors: [(key: String, tensor: Tensor)] = []
    for (path, (rank, _)) in paths {
      tensors.append(("base_model.model.\(path).lora_A.weight", Tensor.ones([rank, 5])))
      tensors.append(("base_model.model.\(path).lora_B.weight", Tensor.ones([5, rank])))
    }
    let source = try LowRankAdapter(configuration: configuration, tensors: tensors, source: "x")
    let (resized, _) = try source.resized(to: .rank(5))
    for layer in resized.layers {
      let before = try #require(source.layers.first { $0.path == layer.path })
      let scale = try resized.configuration.scale(ofLayer: layer.path, rank: 5)
      #expect(abs(scale - before.update.scale) < 1e-12, "\(layer.path)")
    }
  }

  // MARK: combine

  @Test func catIsTheWeightedSum() throws {
    let first = try adapter(["a.q": (4, 8), "a.v": (6, 3)])
    let second = try adapter(["a.q": (2, 16), "b.q": (2, 16)], rank: 2, alpha: 16, seed: 2)
    let third = try adapter(["a.q": (4, 8)], seed: 4, isStabilized: true)
    let (made, report) = try LowRankAdapter.combined(
      [(first, 0.7), (second, -0.3), (third, 2)], AdapterCombination())
    #expect(made.layers.map(\.path) == ["a.q", "a.v", "b.q"])
    #expect(made.layers.map(\.update.rank) == [10, 6, 2])
    #expect(made.configuration.usesRankStabilization == false)
    for (layer, row) in zip(made.layers, report) {
      var sum = Tensor.zeros([12, 9], dtype: .float64)
      for (adapter, weight) in [(first, 0.7), (second, -0.3), (third, 2.0)] {
        for own in adapter.layers where own.path == layer.path {
          sum = sum + own.update.matrix() * weight
        }
      }
      let scale = try made.configuration.scale(ofLayer: layer.path, rank: layer.update.rank)
      #expect(scale == 1)
      #expect(norm(layer.update.matrix() - sum) < 1e-5 * norm(sum))
      #expect(row.relativeError < 1e-6)
      // The nearest of a rank, and how far it is.
      let (cut, errors) = try LowRankAdapter.combined(
        [(first, 0.7), (second, -0.3), (third, 2)], AdapterCombination(.svd, rank: 3))
      let near = try #require(cut.layers.first { $0.path == layer.path })
      let best = try SingularValueDecomposition(sum).error(atRank: 3)
      let error = norm(near.update.matrix() - sum)
      #expect(abs(error - best) < 1e-5 * norm(sum))
      let told = try #require(errors.first { $0.path == layer.path }).relativeError
      #expect(abs(told - error / norm(sum)) < 1e-5)
    }
  }

  /// "linear" of two adapters that have nothing to do with each other is far from their sum.
  @Test func linearIsNotTheSum() throws {
    let (first, second) = (
      try adapter(["a.q": (4, 8)]), try adapter(["a.q": (4, 8)], seed: 2)
    )
    let (_, report) = try LowRankAdapter.combined(
      [(first, 0.5), (second, 0.5)], AdapterCombination(.linear))
    #expect(report[0].relativeError > 0.5)
    // Of one adapter it is that one.
    let (alone, exact) = try LowRankAdapter.combined([(first, -2)], AdapterCombination(.linear))
    #expect(exact[0].relativeError < 1e-6)
    #expect(
      norm(alone.layers[0].update.matrix() + first.layers[0].update.matrix() * 2.0) < 1e-4)
  }

  @Test func droppingKeepsTheExpectedSum() throws {
    let first = try adapter(["a.q": (4, 8)])
    var combination = AdapterCombination(.dareLinear, density: 0.5)
    var a = Tensor.zeros([4, 9])
    for seed in 0..<400 as Range<UInt64> {
      combination.seed = seed
      let made = try LowRankAdapter.combined([(first, 0.5)], combination).adapter
      a = a + made.layers[0].update.a
      let kept = (made.layers[0].update.a .!= 0).to(.float32)
      // Weight times scale is 1: what is kept is doubled.
      let expected = first.layers[0].update.a * 2.0 * kept
      #expect(norm(made.layers[0].update.a - expected) < 1e-5)
    }
    let mean = a * (1.0 / 400)
    #expect(norm(mean - first.layers[0].update.a) < 0.15 * norm(first.layers[0].update.a))
    combination.seed = 7
    let twice = try (0..<2).map { _ in
      try LowRankAdapter.combined([(first, 0.5)], combination).adapter.layers[0].update.a
    }
    #expect(twice[0].isEqual(to: twice[1]))
  }

  @Test func signsAreElected() throws {
    func single(_ a: [Float]) throws -> LowRankAdapter {
      var configuration = LoRAConfig(rank: 1, alpha: 1, targetModules: .names(["q"]))
      configuration.taskType = nil
      return try LowRankAdapter(
        configuration: configuration,
        tensors: [
          ("base_model.model.q.lora_A.weight", Tensor(a, shape: [1, 4])),
          ("base_model.model.q.lora_B.weight", Tensor([1] as [Float], shape: [1, 1])),
        ], source: "x")
    }
    let terms = [
      (try single([1, -1, 3, 0]), 1.0), (try single([2, -2, -1, 0]), 1),
      (try single([-4, 4, -1, 5]), 1),
    ]
    var combination = AdapterCombination(.ties, density: 1)
    // Sums are -1, 1, 1, 5: the third alone agrees in the first column.
    let total = try LowRankAdapter.combined(terms, combination).adapter
    #expect(total.layers[0].update.a.array(of: Float.self) == [-4, 4, 3, 5])
    combination.majoritySign = .frequency
    let frequent = try LowRankAdapter.combined(terms, combination).adapter
    #expect(frequent.layers[0].update.a.array(of: Float.self) == [1.5, -1.5, -1, 5])
    // The largest half of each only.
    let pruned = try LowRankAdapter.combined(
      terms, AdapterCombination(.magnitudePrune, density: 0.25)
    ).adapter
    #expect(pruned.layers[0].update.a.array(of: Float.self)[2...3] == [3, 5])
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let first = try adapter(["a.q": (4, 8)])
    let other = try adapter(["a.q": (2, 8)], rank: 2, seed: 2)
    func refused(
      _ terms: [(LowRankAdapter, Double)], _ combination: AdapterCombination,
      _ mention: String
    ) {
      expectRefusal(mention) { try LowRankAdapter.combined(terms, combination) }
    }
    refused([(first, 1), (other, 1)], AdapterCombination(.linear), "ranks 4 and 2")
    refused([], AdapterCombination(), "at least one")
    refused([(first, .nan)], AdapterCombination(), "weight")
    refused([(first, 1)], AdapterCombination(.ties), "density")
    refused([(first, 1)], AdapterCombination(.cat, rank: 3), "rank")
    refused([(first, 1)], AdapterCombination(.svd, rank: 3, density: 0.5), "density")
    refused([(first, 1)], AdapterCombination(.dareTies, density: 0), "density")
    var magnitudes = first
    magnitudes.others = [("base_model.model.a.q.lora_magnitude_vector", Tensor.ones([12]))]
    refused([(magnitudes, 1)], AdapterCombination(), "DoRA")
    var whole = first
    whole.others = [("base_model.model.norm.weight", Tensor.ones([3]))]
    refused([(whole, 0.5), (first, 0.5)], AdapterCombination(), "norm.weight")
    refused([(whole, 0.5), (whole, 0.6)], AdapterCombination(), "norm.weight")
    let (made, _) = try LowRankAdapter.combined(
      [(whole, 0.25), (whole, 0.75)], AdapterCombination())
    #expect(made.others[0].tensor.isEqual(to: Tensor.ones([3])))
  }

  @Test func addedToAModelItIsTheSum() throws {
    try withModel { directory, model in
      var config = LoRAConfig(rank: 4, targetModules: .names(["q_proj", "down_proj"]))
      config.initialization = .random
      config.modulesToSave = ["norm"]
      let peft = try PeftModel(model, config, adapterName: "one", seed: 1)
      var other = LoRAConfig(rank: 2, alpha: 16, targetModules: .names(["q_proj", "v_proj"]))
      other.initialization = .random
      other.usesRankStabilization = true
      try peft.addAdapter("two", other, seed: 2)
      for (key, parameter) in peft.adapterParameters("one") where key.contains("norm") {
        parameter.value = parameter.value.detached() * 1.5
      }
      // What two adapters side by side do is the sum of both.
      try peft.setAdapter(["one", "two"])
      let expected = logits(model)
      let report = try peft.addWeightedAdapter([("one", 1), ("two", 1)], name: "sum")
      #expect(report.allSatisfy { $0.relativeError < 1e-6 })
      try peft.setAdapter(["sum"])
      expectClose(logits(model), expected, absolute: 1e-4, relative: 1e-3)
      // Half of a module that is trained whole is half way to it.
      try peft.addWeightedAdapter([("one", 0.5)], name: "half")
      let norms = peft.adapterParameters("half").filter { $0.key.hasSuffix("model.norm.weight") }
      let original = peft.adapterParameters("one").filter {
        $0.key.hasSuffix("model.norm.weight")
      }
      let third = try #require(original.first).parameter.value * (1.25 / 1.5)
      expectClose(try #require(norms.first).parameter.value, third)
      #expect(throws: AdapterError.self) {
        try peft.addWeightedAdapter([("one", 1)], name: "sum")
      }
      #expect(throws: AdapterError.self) {
        try peft.addWeightedAdapter([("none", 1)], name: "new")
      }
      // Saved and opened it is the same.
      try peft.savePretrained(directory + "/sum", adapter: "sum")
      let fresh = try self.model(directory)
      _ = try PeftModel.fromPretrained(fresh, directory + "/sum")
      expectClose(logits(fresh), expected, absolute: 1e-4, relative: 1e-3)
    }
  }

  // MARK: extract

  /// A tuned model whose changes have a low rank, in some layers and one norm.
  private func tune(_ directory: String, embeddings: Bool = false) throws -> DecoderForCausalLM {
    let tuned = try model(directory)
    let generator = Generator(seed: 4)
    for (path, module) in tuned.modules() {
      guard let layer = module as? Linear, let dense = layer.projection as? DenseProjection,
        path.hasSuffix("q_proj") || path.hasSuffix("1.mlp.up_proj")
      else { continue }
      let b = Tensor.randomNormal([dense.outputSize, 3], generator: generator)
      let a = Tensor.randomNormal([3, dense.inputSize], generator: generator)
      dense.weight = Parameter(dense.weight.value + b.matrixProduct(a) * 0.05)
    }
    for (path, parameter) in tuned.parameters() {
      if path == "model.norm.weight" || (embeddings && path == "model.embed_tokens.weight") {
        parameter.value = parameter.value * 1.1
      }
    }
    return tuned
  }

  @Test func extractedItIsTheTunedModel() throws {
    try withModel { directory, _ in
      let tuned = try tune(directory)
      let expected = logits(tuned)
      var options = ExtractionOptions()
      options.choice = .rank(3)
      options.keepsOtherParameters = true
      for algorithm in ExtractionOptions.Algorithm.allCases {
        options.algorithm = algorithm
        let base = try model(directory)
        let plain = logits(base)
        var steps = 0
        let (peft, report) = try PeftModel.extracting(tuned, base: base, options: options) { _, _ in
          steps += 1
        }
        #expect(report.layers.count == 3 && report.unchanged.count == 12 && steps == 15)
        #expect(report.layers.allSatisfy { $0.lost < 1e-6 && ($0.relativeNorm ?? 0) > 0.01 })
        #expect(report.others.map(\.path) == ["model.norm.weight"])
        #expect((logits(base) - plain).absolute().max().item() > 1e-2)
        expectClose(logits(base), expected, absolute: 1e-4, relative: 1e-3)
        try peft.savePretrained(directory + "/\(algorithm.rawValue)")
        let fresh = try model(directory)
        _ = try PeftModel.fromPretrained(fresh, directory + "/\(algorithm.rawValue)")
        expectClose(logits(fresh), expected, absolute: 1e-4, relative: 1e-3)
      }
    }
  }

  @Test func energyGivesEachLayerItsRank() throws {
    try withModel { directory, _ in
      let tuned = try tune(directory, embeddings: true)
      var options = ExtractionOptions()
      options.choice = .energy(0.8)
      let base = try model(directory)
      let (peft, report) = try PeftModel.extracting(tuned, base: base, options: options)
      for layer in report.layers {
        #expect(layer.lost <= 0.2 + 1e-9, "\(layer.path)")
      }
      // The tied head is a linear layer and has changed with the embeddings.
      #expect(report.layers.contains { $0.path == "lm_head" && $0.rank > 3 })
      #expect(Set(report.layers.map(\.rank)).count > 1)
      #expect(
        Set(report.others.map(\.path)) == ["model.embed_tokens.weight", "model.norm.weight"])
      #expect(!report.keepsOthers)
      try peft.savePretrained(directory + "/adapter")
      let fresh = try model(directory)
      let opened = try PeftModel.fromPretrained(fresh, directory + "/adapter")
      expectClose(logits(fresh), logits(base))
      let lora = try #require(opened.configurations.first?.configuration as? LoRAConfig)
      for layer in report.layers {
        #expect(try lora.scale(ofLayer: layer.path, rank: layer.rank) == 1)
      }
    }
  }

  @Test func modelsThatDoNotBelongTogether() throws {
    try withModel { directory, _ in
      func refused(
        _ tuned: DecoderForCausalLM, _ mention: String,
        _ change: (inout ExtractionOptions) -> Void = { _ in }
      ) throws {
        var options = ExtractionOptions()
        change(&options)
        let base = try model(directory)
        expectRefusal(mention) { try PeftModel.extracting(tuned, base: base, options: options) }
      }
      try refused(try model(directory), "same weights")
      try TinyModel { $0.layerCount = 3 }.write(to: directory + "/deep")
      try refused(try model(directory + "/deep"), "layers.2")
      try TinyModel { $0.hiddenSize = 32 }.write(to: directory + "/wide")
      try refused(try model(directory + "/wide"), "[260, 32]")
      let broken = try tune(directory)
      for (path, parameter) in broken.parameters() where path.hasSuffix("0.self_attn.k_proj.weight")
      {
        parameter.value = parameter.value * Double.nan
      }
      try refused(broken, "0.self_attn.k_proj.weight of the tuned model")
      try refused(try tune(directory), "rank is 0") { $0.choice = .rank(0) }
      try refused(try tune(directory), "nothing_proj") {
        $0.targets = .names(["nothing_proj"])
      }
    }
  }
}
