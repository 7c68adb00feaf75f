import Foundation
import JSONValues
import TestSupport
import Testing

/// `graft plan`.
@Suite struct PlanCommandTests {
  private func plan(_ fixture: CommandFixture, _ more: [String] = []) throws -> JSON {
    let before = try Set(FileManager.default.subpathsOfDirectory(atPath: fixture.directory))
    let result = try GraftProcess.run(
      ["plan", "--model", "model", "--data", "rows.jsonl", "--rank", "4", "--json"] + more,
      directory: fixture.directory)
    #expect(result.code == 0, "\(result.errors)")
    let after = try Set(FileManager.default.subpathsOfDirectory(atPath: fixture.directory))
    #expect(after == before, "a plan writes nothing")
    return try JSON.parse(Data(result.output.utf8))
  }

  /// A model of more blocks than the trials have.
  private func deep() -> TinyModel {
    var model = TinyModel()
    model.layerCount = 8
    return model
  }

  @Test func `figures of files are those of the run`() throws {
    try CommandFixture.with(deep()) { fixture in
      let options = ["--batch-size", "4", "--max-steps", "6", "--save-every", "2", "--keep", "1"]
      let plan = try plan(fixture, options)
      #expect(plan["blocks"]?.intValue == 8)
      #expect(plan["trial_blocks"]?.arrayValue?.compactMap(\.intValue) == [1, 3])
      #expect(plan["steps"]?.intValue == 6 && plan["checkpoints"]?.intValue == 2)
      try fixture.train(options)
      let path = fixture.path("run/checkpoints/step-00000006")
      let sizes = try FileManager.default.contentsOfDirectory(atPath: path).map { name in
        try FileManager.default.attributesOfItem(atPath: path + "/" + name)[.size] as? Int ?? 0
      }
      let (real, planned) = (
        Double(sizes.reduce(0, +)), try #require(plan["checkpoint_bytes"]?.doubleValue)
      )
      // Names of tensors and numbers in state.json are not equally long.
      #expect(abs(planned / real - 1) < 0.02, "\(planned) planned, \(real) bytes")
      // The parts are the whole.
      let memory = try #require(plan["memory"]?.objectValue)
      let sum = memory.reduce(0) { $0 + ($1.value.doubleValue ?? 0) }
      let peak = try #require(plan["peak_memory_bytes"]?.doubleValue)
      #expect(abs(sum / peak - 1) < 0.01)
      let measured = try #require(fixture.metrics().last?["peak_memory_bytes"]?.doubleValue)
      #expect(abs(peak / measured - 1) < 0.1, "\(peak) planned, \(measured) bytes")
      #expect(try #require(plan["seconds_per_step"]?.doubleValue) > 0)
    }
  }

  @Test func `trained weights are counted`() throws {
    try CommandFixture.with(deep()) { fixture in
      let few = try plan(fixture, ["--rank", "2"])["memory"]?["trained weights"]?.doubleValue
      let many = try plan(fixture, ["--rank", "8"])["memory"]?["trained weights"]?.doubleValue
      // Four times the numbers, beside the file's header.
      let ratio = try #require(many) / #require(few)
      #expect(2 < ratio && ratio < 4, "\(ratio)")
    }
  }

  /// With shares of the optimiser's state in its files, a process has its own.
  @Test func `shares of the state are counted`() throws {
    try CommandFixture.with(TinyModel { $0.hiddenSize = 128 }) { fixture in
      let more = ["--batch-size", "4"]
      let alone = try plan(fixture, more)["memory"]
      let shared = try plan(fixture, more + ["--processes", "2", "--zero", "1"])["memory"]
      let whole = try #require(alone?["optimiser's state"]?.doubleValue)
      let half = try #require(shared?["optimiser's state"]?.doubleValue)
      // Beside the headers of the files.
      #expect(abs(2 * half / whole - 1) < 0.1, "\(half) of \(whole)")
      #expect(alone?["trained weights"] == shared?["trained weights"])
      #expect(try 2 * #require(alone?["trained weights"]?.doubleValue) < 1.1 * whole)
    }
  }

  @Test func `what cannot be is named`() throws {
    try CommandFixture.with { fixture in
      let words = ["plan", "--model", "model", "--data", "rows.jsonl"]
      try fixture.expectFailure(64, naming: ["--data"], ["plan", "--model", "model"])
      try fixture.expectFailure(64, naming: ["--processes", "0"], words + ["--processes", "0"])
      try fixture.expectFailure(64, naming: ["--resume"], words + ["--resume", "run"])
      try fixture.expectFailure(
        64, naming: ["a trial run failed", "(r) is 0"], words + ["--rank", "0", "--quiet"])
      try fixture.expectFailure(
        66, naming: ["none.jsonl"], ["plan", "--model", "model", "--data", "none.jsonl"])
      try fixture.write("model/config.json", #"{"model_type": "llama", "num_hidden_layers": 77}"#)
      try fixture.expectFailure(65, naming: ["config.json", "number of blocks"], words)
    }
  }

  /// With a network whose numbers are known: 2 (N - 1) messages of 100 us, and 1 ns a byte.
  @Test func `several machines are predicted from measured sums`() throws {
    try CommandFixture.with(deep()) { fixture in
      func ring(_ processes: Double, _ bytes: Double) -> Double {
        2 * (processes - 1) * (1e-4 + bytes / processes * 1e-9)
      }
      let samples = [2, 4].flatMap { processes in
        [4096, 1 << 20].map { bytes in
          #"{"processes": \#(processes), "bytes": \#(bytes), "seconds": "#
            + "\(ring(Double(processes), Double(bytes)))}"
        }
      }
      try fixture.write("network.json", #"{"samples": [\#(samples.joined(separator: ","))]}"#)
      let plan = try plan(
        fixture,
        ["--batch-size", "4", "--nodes", "1,2,64", "--network", fixture.path("network.json")])
      let rows = try #require(plan["cluster"]?["nodes"]?.arrayValue)
      #expect(rows.compactMap { $0["processes"]?.intValue } == [1, 2, 64])
      let one = try #require(plan["seconds_per_step"]?.doubleValue)
      #expect(rows[0]["seconds_per_step"]?.doubleValue == one)
      #expect(rows[0]["exchange_seconds"]?.doubleValue == 0)
      let exchange = try #require(rows[1]["exchange_seconds"]?.doubleValue)
      let bytes = try #require(rows[1]["bytes_sent_per_process"]?.doubleValue)
      // Two processes send what each has.
      #expect(abs(exchange / ring(2, bytes) - 1) < 1e-6)
      let half = try #require(rows[1]["seconds_per_step"]?.doubleValue)
      #expect(abs(half - (one / 2 + exchange)) < 1e-9)
      // 4 rows are too few for 64 processes; an update 64 times as large is not.
      #expect(rows[2]["seconds_per_step"]?.isNull == true)
      let large = try #require(rows[2]["seconds_per_larger_step"]?.doubleValue)
      #expect(abs(large - (one + ring(64, bytes))) < 1e-6)
    }
  }

  @Test func `networks that cannot be are named`() throws {
    try CommandFixture.with(deep()) { fixture in
      let words = ["plan", "--model", "model", "--data", "rows.jsonl", "--quiet"]
      try fixture.expectFailure(64, naming: ["--nodes", "2,x"], words + ["--nodes", "2,x"])
      try fixture.expectFailure(64, naming: ["--network"], words + ["--network", "n.json"])
      try fixture.expectFailure(
        66, naming: ["n.json"], words + ["--nodes", "2", "--network", "n.json"])
      try fixture.write("n.json", #"{"samples": [{"processes": 1, "bytes": 4, "seconds": 1}]}"#)
      try fixture.expectFailure(
        65, naming: ["n.json", "processes"], words + ["--nodes", "2", "--network", "n.json"])
      try fixture.expectFailure(64, naming: ["one process"], ["network"])
    }
  }

  @Test func `sums are measured between processes`() throws {
    try CommandFixture.with { fixture in
      let result = try GraftProcess.run(
        ["launch", "--processes", "2", "--", "network", "--output", "network.json"],
        directory: fixture.directory)
      #expect(result.code == 0, "\(result.errors)")
      let found = try JSON.read(path: fixture.path("network.json"))
      let samples = try #require(found["samples"]?.arrayValue)
      #expect(samples.count == 6 && samples.allSatisfy { $0["processes"]?.intValue == 2 })
      let times = samples.compactMap { $0["seconds"]?.doubleValue }
      #expect(times.count == 6 && times.allSatisfy { $0 > 0 } && times[5] > times[0])
    }
  }
}
