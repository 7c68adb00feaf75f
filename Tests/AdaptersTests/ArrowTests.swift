import Adapters
import Layers
import Models
import TestSupport
import Tensors
import Testing

/// Arrow's routing; numbers of PEFT's from scripts/goldens/lora_arrow.py.
@Suite struct ArrowTests {
  private let tasks = ["task_0", "task_1", "task_2"]
  private let general = ["gks_0", "gks_1"]

  private func golden() throws -> Goldens {
    try Goldens(testDirectory() + "/Fixtures/lora-arrow.safetensors")
  }

  private func wrapped() throws -> (
    root: OneLayer<Linear>, peft: PeftModel<OneLayer<Linear>>, golden: Goldens
  ) {
    let golden = try golden()
    let root = OneLayer(
      Linear(DenseProjection(weight: Parameter(golden["weight"].cloned()))))
    let config = LoRAConfig(rank: 3, alpha: 4.5, targetModules: .names(["layer"]))
    let peft = try PeftModel(root, config, adapterName: tasks[0])
    for name in tasks.dropFirst() + general { try peft.addAdapter(name, config) }
    for name in tasks + general {
      try peft.loadStateDictionary(
        [
          "base_model.model.layer.lora_A.weight": golden[name + ".a"],
          "base_model.model.layer.lora_B.weight": golden[name + ".b"],
        ], into: name)
    }
    return (root, peft, golden)
  }

  private func arrow(_ change: (inout ArrowConfig) -> Void = { _ in }) -> ArrowConfig {
    var arrow = ArrowConfig()
    (arrow.taskAdapters, arrow.generalAdapters) = (tasks, general)
    change(&arrow)
    return arrow
  }

  @Test(arguments: [("one", 1, 1.0), ("two", 2, 0.7), ("all", 3, 1), ("general", 2, 1)])
  func itIsPeftsNumbers(_ name: String, _ count: Int, _ temperature: Double) throws {
    let (root, peft, golden) = try wrapped()
    let before = try peft.stateDictionary(tasks[1]).map { $0.tensor.cloned() }
    try peft.addArrowRouter(
      arrow {
        ($0.topK, $0.temperature) = (count, temperature)
        $0.subtractsGeneral = name == "general"
      })
    expectClose(root.layer(golden["x"]).detached(), golden[name + ".y"], absolute: 1e-5)
    // The adapters themselves stay.
    for (tensor, old) in zip(try peft.stateDictionary(tasks[1]), before) {
      #expect(tensor.tensor.isEqual(to: old))
    }
    try peft.setAdapter([tasks[0]])
    #expect((root.layer(golden["x"]).detached() - golden[name + ".y"]).norm().item() > 0.1)
  }

  @Test func filesNameTheAdapters() throws {
    try withTemporaryDirectory { directory in
      let (root, peft, golden) = try wrapped()
      try peft.addArrowRouter(arrow { ($0.topK, $0.seed) = (2, 7) })
      let y = root.layer(golden["x"])
      try peft.savePretrained(directory)
      try peft.loadAdapter(directory, name: "again")
      try peft.setAdapter(["again"])
      #expect(root.layer(golden["x"]).isEqual(to: y))
      let opened = try #require(peft.configurations.last?.configuration as? LoRAConfig)
      #expect(opened.arrow?.taskAdapters == tasks && opened.arrow?.seed == 7)
    }
  }

  @Test func mistakes() throws {
    let (_, peft, _) = try wrapped()
    for (change, words) in [
      ({ $0.topK = 4 }, ["top_k", "at most 3", "4"]),
      ({ $0.topK = 0 }, ["top_k", "positive"]),
      ({ $0.temperature = 0 }, ["router_temperature"]),
      ({ $0.taskAdapters = [] }, ["task_adapter_names"]),
      ({ $0.taskAdapters = ["nobody"] }, ["nobody"]),
      ({ ($0.subtractsGeneral, $0.generalAdapters) = (true, []) }, ["gks_adapter_names"]),
    ] as [((inout ArrowConfig) -> Void, [String])] {
      expectRefusal(parts: words) {
        try peft.addArrowRouter(arrow(change))
      }
      #expect(peft.configurations.count == 5)
    }
    try peft.addArrowRouter(arrow())
    expectRefusal("arrow_config") {
      try peft.mergeAdapter()
    }
  }
}
