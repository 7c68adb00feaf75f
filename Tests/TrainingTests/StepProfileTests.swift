import Adapters
import Foundation
import JSONValues
import Models
import Tensors
import TestSupport
import Testing
import Training

@Suite struct StepProfileTests {
  private struct Run {
    var losses: [Double] = []
    var profile: StepProfile?
  }

  private func run(
    _ directory: String, profiling update: Int?, change: (inout TrainingOptions) -> Void = { _ in }
  ) throws -> Run {
    let model = try AutoModelForCausalLM.fromPretrained(directory + "/model")
    let peft = try PeftModel(model, LoRAConfig(rank: 4, targetModules: .allLinear), seed: 3)
    var options = TrainingOptions()
    options.maximumSteps = 4
    options.learningRate = 5e-3
    options.logEvery = 1
    options.profiledUpdate = update
    change(&options)
    let path = "\(directory)/run-\(UUID().uuidString)"
    let trainer = try Trainer(
      model: peft, examples: try tinyExamples(directory + "/model"), options: options,
      directory: path, recipe: [:])
    var result = Run()
    trainer.onStep = { result.losses.append($0.loss) }
    trainer.onProfile = { result.profile = $0 }
    _ = try trainer.run(resuming: false)
    return result
  }

  @Test(arguments: [false, true]) func ofATinyRun(recomputes: Bool) throws {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory + "/model")
      let plain = try run(directory, profiling: nil) { $0.checkpointsActivations = recomputes }
      let profiled = try run(directory, profiling: 3) {
        $0.checkpointsActivations = recomputes
        $0.gradientAccumulation = 1
      }
      // Looking on changes nothing.
      #expect(plain.losses == profiled.losses && plain.losses.count == 4)
      #expect(plain.profile == nil)
      let profile = try #require(profiled.profile)
      #expect(profile.step == 3)

      // Every nanosecond is in one phase, and with one kernel or between them.
      #expect(profile.phases.reduce(0) { $0 + $1.total } == profile.duration)
      #expect(profile.kernels.reduce(0) { $0 + $1.total } == profile.duration)
      #expect(profile.entries.allSatisfy { $0.ownTime >= 0 })
      let names = Set(profile.phases.map(\.name))
      // One process exchanges nothing.
      #expect(names == Set(StepProfile.Phase.allCases.map(\.rawValue)).subtracting(["exchange"]))
      let passes = profile.phases.filter { ["forward", "backward"].contains($0.name) }
      let outermost = profile.layers.filter { !$0.name.contains(".") }
      #expect(
        outermost.reduce(0) { $0 + $1.total } == passes.reduce(0) { $0 + $1.total })

      // The parts of the model, with their work in both directions.
      let layers = Dictionary(uniqueKeysWithValues: profile.layers.map { ($0.name, $0) })
      for name in ["model.layers.*.self_attn", "model.layers.*.mlp", "lm_head"] {
        let layer = try #require(layers[name], "\(layers.keys)")
        #expect(layer.forward > 0 && layer.backward > 0, "\(name)")
        #expect(layer.total == layer.forward + layer.backward)
      }
      let blocks = try #require(layers["model.layers.*"])
      #expect(profile.blocks.map(\.name) == ["model.layers.0", "model.layers.1"])
      #expect(profile.blocks.reduce(0) { $0 + $1.total } == blocks.total)
      #expect(profile.blocks.reduce(0) { $0 + $1.keptBytes } == blocks.keptBytes)
      #expect(blocks.total <= (layers["model"]?.total ?? 0))
      #expect(blocks.keptBytes > 0 && profile.heldMost >= blocks.keptBytes)
      if !recomputes {
        let parts = ["self_attn", "mlp"].compactMap { layers["model.layers.*.\($0)"]?.keptBytes }
        #expect(parts.reduce(0, +) <= blocks.keptBytes)
      }
      for table in [profile.summary, profile.details] {
        for word in ["model.layers.*.mlp", "backward", "kept MB"] {
          #expect(table.contains(word), "\(word)")
        }
      }
      for word in ["swiglu_backward", "aten::index_select", "model.layers.1"] {
        #expect(profile.details.contains(word), "\(word)")
      }
    }
  }

  /// A trace is a list of complete events that lie in each other, or beside.
  @Test func trace() throws {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory + "/model")
      let found = try run(directory, profiling: 2).profile
      let profile = try #require(found)
      let trace = try JSON.parse(Data(profile.trace.serialized().utf8))
      let all = try #require(trace["traceEvents"]?.arrayValue)
      let events = all.filter { $0["ph"]?.stringValue == "X" }
      #expect(events.count == profile.entries.count && events.count > 100)
      var open: [(name: String, end: Double)] = []
      for event in events where event["tid"]?.intValue == 0 {
        let name = try #require(event["name"]?.stringValue)
        let begin = try #require(event["ts"]?.doubleValue)
        let end = begin + (try #require(event["dur"]?.doubleValue))
        while let last = open.last, last.end <= begin { open.removeLast() }
        // Microseconds are rounded.
        if let last = open.last { #expect(end <= last.end + 1e-3, "\(name) in \(last.name)") }
        open.append((name, end))
      }
      #expect(events.first?["name"]?.stringValue == "step")
      let backward = events.filter { $0["args"]?["phase"]?.stringValue == "backward" }
      #expect(
        backward.contains { $0["args"]?["layer"]?.stringValue == "model.layers.1.self_attn" })
      #expect(all.contains { $0["ph"]?.stringValue == "C" && $0["args"]?["bytes"] != nil })
    }
  }

  /// Times and bytes of events that are made up, whose sums are known.
  @Test func sumsOfKnownEvents() {
    func event(
      _ kind: RecordedEvent.Kind, _ name: String, _ parent: Int?, _ time: Range<Int>,
      allocated: Int = 0, held: (Int, Int) = (0, 0), node: Int? = nil, made: Range<Int> = 0..<0,
      operations: Int = 0
    ) -> RecordedEvent {
      var event = RecordedEvent(kind, name, parent: parent, time: time)
      (event.heldBefore, event.heldAfter) = held
      event.heldMost = max(held.0, held.1)
      (event.allocatedBytes, event.operations) = (allocated, operations)
      (event.node, event.madeNodes) = (node, made)
      return event
    }
    let profile = StepProfile(
      step: 7,
      Recording(events: [
        event(.phase, "step", nil, 0..<1000),
        event(.phase, "forward", 0, 100..<400, made: 5..<9),
        event(.layer, "layers.0", 1, 110..<200, held: (0, 40), made: 5..<7),
        event(.operator, "mm", 2, 120..<180, operations: 600),
        event(.operator, "aten::empty", 3, 130..<140, allocated: 40),
        event(.layer, "layers.1", 1, 200..<300, held: (40, 100), made: 7..<8),
        event(.kernel, "norm", 5, 220..<250, allocated: 60),
        event(.phase, "backward", 0, 500..<900),
        event(.engine, "engine", 7, 505..<600),
        event(.node, "Norm", 8, 510..<600, node: 7),
        event(.operator, "mm", 9, 520..<590, operations: 700),
        event(.node, "Mm", 7, 600..<700, node: 5),
        event(.node, "AccumulateGrad", 7, 700..<710),
      ]))
    func times(_ sums: [StepProfile.Sum]) -> [String: [Int]] {
      Dictionary(uniqueKeysWithValues: sums.map { ($0.name, [$0.forward, $0.backward, $0.total]) })
    }
    #expect(profile.duration == 1000)
    #expect(
      times(profile.phases) == [
        "step": [0, 0, 300], "forward": [300, 0, 300], "backward": [0, 400, 400],
      ])
    #expect(times(profile.layers) == ["": [110, 205, 315], "layers.*": [190, 195, 385]])
    #expect(times(profile.blocks) == ["layers.0": [90, 100, 190], "layers.1": [100, 95, 195]])
    #expect(
      times(profile.kernels) == [
        "mm": [50, 70, 120], "aten::empty": [10, 0, 10], "norm": [30, 0, 30],
        "": [210, 330, 840],
      ])
    #expect(profile.blocks.map(\.keptBytes) == [40, 60])
    #expect(profile.layers.first { $0.name == "layers.*" }?.keptBytes == 100)
    let bytes = Dictionary(
      uniqueKeysWithValues: profile.kernels.map { ($0.name, $0.allocatedBytes) })
    #expect(bytes == ["mm": 40, "aten::empty": 0, "norm": 60, "": 0])
    #expect(profile.kernels.first { $0.name == "mm" }?.operations == 1300)
    #expect(profile.heldMost == 100)
  }
}
