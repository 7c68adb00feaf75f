import Foundation
import JSONValues
import TestSupport
import Testing

/// Runs that several processes share.
@Suite struct LaunchTests {
  /// 18 rows in batches of 4: the last batch of an epoch has two rows.
  static let recipe = [
    "--epochs", "2", "--schedule", "cosine", "--warmup-steps", "2", "--max-gradient-norm", "0.5",
  ]

  /// Words of a run of 18 rows.
  func words(_ more: [String], output: String) -> [String] {
    [
      "train", "--model", "model", "--data", "eighteen.jsonl", "--output", output, "--batch-size",
      "4", "--learning-rate", "1e-2", "--log-every", "1",
    ] + (more.contains("adamss") ? [] : ["--rank", "4", "--dropout", "0.1"]) + Self.recipe + more
  }

  func with(_ body: (CommandFixture) throws -> Void) throws {
    try CommandFixture.with { fixture in
      try fixture.write("eighteen.jsonl", CommandFixture.rows(18))
      try body(fixture)
    }
  }

  @discardableResult
  func run(
    _ fixture: CommandFixture, _ processes: Int, _ more: [String] = [], output: String,
    launch: [String] = [], expecting code: Int32 = 0,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> GraftProcess.Result {
    let train = words(more, output: output)
    let result = try GraftProcess.run(
      processes == 1
        ? train : ["launch", "--processes", "\(processes)"] + launch + ["--"] + train,
      directory: fixture.directory)
    #expect(result.code == code, "\(result.errors)", sourceLocation: sourceLocation)
    return result
  }

  func expectSame(
    _ fixture: CommandFixture, _ name: String, _ other: String = "whole",
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let (expected, actual) = (try fixture.metrics(other), try fixture.metrics(name))
    for key in ["step", "loss", "gradient_norm", "learning_rate", "tokens", "epoch"] {
      #expect(
        actual.map { $0[key] } == expected.map { $0[key] }, "\(key)",
        sourceLocation: sourceLocation)
    }
    let file = "adapter_model.safetensors"
    #expect(
      try fixture.bytes("\(name)/\(file)") == fixture.bytes("\(other)/\(file)"),
      sourceLocation: sourceLocation)
  }

  /// To the last bit, whatever the number of processes, with a tail that does not divide.
  @Test(arguments: [1, 2]) func deterministic(_ accumulation: Int) throws {
    try with { fixture in
      let more = ["--deterministic", "4", "--gradient-accumulation", "\(accumulation)"]
      try run(fixture, 1, more, output: "whole")
      #expect(try fixture.metrics("whole").count == (accumulation == 1 ? 10 : 6))
      for processes in [2, 3, 4] {
        try run(fixture, processes, more, output: "run\(processes)")
        try expectSame(fixture, "run\(processes)")
      }
    }
  }

  /// A scaled loss, with gradients on their way before it is divided out again.
  @Test(arguments: [0, 1, 3]) func scaledLoss(_ stage: Int) throws {
    try with { fixture in
      let more = [
        "--precision", "float16", "--loss-scale", "1024", "--deterministic", "4",
        "--gradient-accumulation", "2",
      ]
      try run(fixture, 1, more, output: "whole")
      try run(fixture, 2, more + ["--zero", "\(stage)"], output: "run")
      try expectSame(fixture, "run")
    }
  }

  /// The profile counts the messages of gradients, some of them begun before the pass was over.
  @Test func profile() throws {
    let tiny = TinyModel {
      ($0.hiddenSize, $0.intermediateSize, $0.layerCount) = (96, 256, 6)
    }
    try CommandFixture.with(tiny) { fixture in
      let train = [
        "train", "--model", "model", "--data", "rows.jsonl", "--output", "run", "--max-steps", "4",
        "--batch-size", "8", "--method", "full", "--profile", "3", "--json",
      ]
      let result = try GraftProcess.run(
        ["launch", "--processes", "2", "--"] + train, directory: fixture.directory)
      #expect(result.code == 0, "\(result.errors)")
      let exchange = try JSON.parse(Data(result.output.utf8))["profile"]?["exchange"]
      // Each block's 442 KB are a message, embeddings and the last norm one.
      #expect(exchange?["messages"]?.intValue == 7, "\(result.output)")
      #expect(exchange?["begun_in_pass"]?.intValue ?? 0 > 0, "\(result.output)")
      let tables = String(decoding: try fixture.bytes("run/profile.txt"), as: UTF8.self)
      #expect(tables.contains("gradients went in 7 messages"))
    }
  }

  /// Evaluation is shared out, and its figures are those of one process, to the last bit.
  @Test func evaluation() throws {
    try with { fixture in
      // Seven batches.
      try fixture.write("other.jsonl", CommandFixture.rows(25))
      let more = ["--deterministic", "4", "--eval-data", "other.jsonl", "--eval-every", "4"]
      try run(fixture, 1, more, output: "whole")
      let expected = try fixture.metrics("whole").compactMap { $0["eval_loss"]?.doubleValue }
      #expect(expected.count == 3)
      for (processes, stage) in [(2, 0), (3, 2), (3, 3), (4, 0)] {
        let name = "run\(processes)-\(stage)"
        try run(fixture, processes, more + ["--zero", "\(stage)"], output: name)
        try expectSame(fixture, name)
        let found = try fixture.metrics(name).compactMap { $0["eval_loss"]?.doubleValue }
        #expect(found == expected)
      }
    }
  }

  /// Up to rounding without `--deterministic`, but for dropout, whose numbers are others.
  @Test(arguments: [1, 2]) func sameNumbers(_ accumulation: Int) throws {
    try with { fixture in
      let more = ["--dropout", "0", "--gradient-accumulation", "\(accumulation)"]
      try run(fixture, 1, more, output: "whole")
      let expected = try fixture.losses("whole")
      for processes in accumulation == 1 ? [2, 3, 4] : [3] {
        try run(fixture, processes, more, output: "run\(processes)")
        let losses = try fixture.losses("run\(processes)")
        #expect(losses.count == expected.count)
        for (a, b) in zip(losses, expected) { #expect(abs(a - b) <= 1e-5 * b, "\(losses)") }
        let rows = try (fixture.metrics("run\(processes)"), fixture.metrics("whole"))
        for key in ["learning_rate", "tokens", "epoch", "step"] {
          #expect(rows.0.map { $0[key] } == rows.1.map { $0[key] })
        }
      }
    }
  }

  /// What a launch says: each line with its rank, the result once and without.
  @Test func output() throws {
    try with { fixture in
      let result = try run(fixture, 2, ["--json"], output: "run")
      let json = try JSON.parse(Data(result.output.utf8))
      #expect(json["steps"]?.intValue == 10)
      #expect(result.errors.contains("[1] rank 1 of 2 by torchrun, 2 on this machine"))
      #expect(result.errors.contains("[0] rank 0 of 2"))
      for line in result.errors.split(separator: "\n") { #expect(line.hasPrefix("["), "\(line)") }
      let names = try FileManager.default.contentsOfDirectory(atPath: fixture.path("run")).sorted()
      try run(fixture, 1, output: "alone")
      #expect(
        try names == FileManager.default.contentsOfDirectory(atPath: fixture.path("alone")).sorted()
      )
    }
  }

  /// Waits until a run has logged a step, and returns the ranks' process numbers.
  private func ranks(
    _ fixture: CommandFixture, _ launcher: GraftProcess, after step: Int, count: Int
  ) throws -> [Int32] {
    while launcher.isRunning {
      let last = try? fixture.metrics().last?["step"]?.intValue
      let children = Self.children(of: launcher.identifier)
      if let last, last >= step, children.count == count { return children }
      usleep(1000)
    }
    return []
  }

  /// Children of a process, by their numbers.
  private static func children(of parent: Int32) -> [Int32] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { name -> Int32? in
      guard let id = Int32(name),
        let stat = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8),
        let end = stat.lastIndex(of: ")")
      else { return nil }
      let fields = stat[stat.index(after: end)...].split(separator: " ")
      return fields.count > 1 && fields[0] != "Z" && Int32(fields[1]) == parent ? id : nil
    }.sorted()
  }

  private static let long = [
    "--deterministic", "4", "--max-steps", "200", "--save-every", "7", "--keep", "1",
  ]

  /// Killed with three processes, gone on with with two: the same run.
  @Test func resumedWithOtherProcesses() throws {
    try with { fixture in
      try run(fixture, 1, Self.long, output: "whole")
      let launcher = try GraftProcess(
        ["launch", "--processes", "3", "--"] + words(Self.long, output: "run"),
        directory: fixture.directory)
      let victims = try ranks(fixture, launcher, after: Int.random(in: 8..<60), count: 3)
      try #require(victims.count == 3)
      let start = Date()
      kill(victims[1], SIGKILL)
      let result = try launcher.wait()
      #expect(Date().timeIntervalSince(start) < 10)
      #expect(result.code == 70, "\(result.errors)")
      #expect(result.errors.contains("graft launch: rank 1 was killed by SIGKILL"))
      for rank in [0, 2] {
        #expect(result.errors.contains("[\(rank)] graft: rank 1 has "), "\(result.errors)")
      }
      #expect(result.errors.contains("rank 1 failed first"))
      try run(fixture, 2, Self.long + ["--resume"], output: "run")
      try expectSame(fixture, "run")
    }
  }

  /// With restarts a run goes on by itself after each kill.
  @Test func restarts() throws {
    try with { fixture in
      try run(fixture, 1, Self.long, output: "whole")
      // An older run in the directory is not what a restart goes on from.
      try run(fixture, 1, ["--max-steps", "3"], output: "run")
      let launcher = try GraftProcess(
        ["launch", "--processes", "2", "--max-restarts", "3", "--"]
          + words(Self.long + ["--overwrite"], output: "run"), directory: fixture.directory)
      var killed: Set<Int32> = []
      for moment in [1, Int.random(in: 10..<60), Int.random(in: 80..<150)] {
        var victims = try ranks(fixture, launcher, after: moment, count: 2)
        while launcher.isRunning, victims.contains(where: killed.contains) {
          victims = try ranks(fixture, launcher, after: moment, count: 2)
        }
        guard victims.count == 2 else { break }
        let victim = victims[Int.random(in: 0..<2)]
        kill(victim, SIGKILL)
        killed.formUnion(victims)
      }
      let result = try launcher.wait()
      #expect(result.code == 0, "\(result.errors)")
      #expect(killed.count == 6 && result.errors.contains("3 of 3 times"), "\(result.errors)")
      try expectSame(fixture, "run")
    }
  }

  /// A signal to the launcher saves and stops all ranks at one step.
  @Test func stopped() throws {
    try with { fixture in
      try run(fixture, 1, Self.long, output: "whole")
      let launcher = try GraftProcess(
        ["launch", "--processes", "2", "--"] + words(Self.long, output: "run"),
        directory: fixture.directory)
      _ = try ranks(fixture, launcher, after: 10, count: 2)
      launcher.send(SIGTERM)
      let result = try launcher.wait()
      #expect(result.code == 75, "\(result.errors)")
      try run(fixture, 1, Self.long + ["--resume"], output: "run")
      try expectSame(fixture, "run")
    }
  }

  /// A rank that is stopped does not hold up the others.
  @Test func stoppedRank() throws {
    try with { fixture in
      let launcher = try GraftProcess(
        ["launch", "--processes", "2", "--"] + words(Self.long, output: "run"),
        directory: fixture.directory)
      let victims = try ranks(fixture, launcher, after: 5, count: 2)
      try #require(victims.count == 2)
      let start = Date()
      kill(victims[1], SIGSTOP)
      let result = try launcher.wait()
      #expect(Date().timeIntervalSince(start) < 20)
      #expect(result.code == 69, "\(result.errors)")
      #expect(result.errors.contains("[0] graft: rank 1 has not answered for 5 s"))
    }
  }

  @Test func badCommands() throws {
    try with { fixture in
      let train = words([], output: "run")
      for (code, mentions, arguments) in [
        (Int32(64), ["nothing to run"], ["launch", "--processes", "2"]),
        (64, ["launch runs train"], ["launch", "--processes", "2", "--", "merge"]),
        (64, ["--processes"], ["launch", "--"] + train),
        (64, ["--processes is 0"], ["launch", "--processes", "0", "--"] + train),
        (
          64, ["--rank-of-nothing"],
          ["launch", "--processes", "2", "--", "train", "--rank-of-nothing"]
        ),
        (
          64, ["--rendezvous"],
          ["launch", "--processes", "1", "--nodes", "2", "--node-rank", "0", "--"] + train
        ),
        (
          64, ["--node-rank is 2"],
          [
            "launch", "--processes", "1", "--nodes", "2", "--node-rank", "2", "--rendezvous", "h:1",
            "--",
          ]
            + train
        ),
        (
          64, ["HOST:PORT"],
          ["launch", "--processes", "2", "--rendezvous", "nowhere", "--"] + train
        ),
      ] {
        try fixture.expectFailure(code, naming: mentions, arguments)
      }
      // More processes than an update has parts, said by the first that fails, with its code.
      let result = try run(
        fixture, 3, ["--batch-size", "2"], output: "run", expecting: 64)
      #expect(result.errors.contains("--batch-size is 2"), "\(result.errors)")
      try fixture.write("bad.jsonl", "{\"prompt\": 1}\n")
      let bad = try run(fixture, 2, ["--data", "bad.jsonl"], output: "run", expecting: 65)
      #expect(bad.errors.contains("failed first; it ended with code 65: graft: "), "\(bad.errors)")
      #expect(!fixture.exists("run"))
    }
  }

  /// A world that is asked for and not found is an error, not a run alone.
  @Test func worldThatIsNotThere() throws {
    try with { fixture in
      let result = try GraftProcess.run(
        words([], output: "run"), directory: fixture.directory,
        variables: ["WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"])
      #expect(result.code == 64 && result.errors.contains("RANK, MASTER_PORT are not set"))
      let alone = try GraftProcess.run(
        words([], output: "run"), directory: fixture.directory,
        variables: [
          "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2",
          "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
          "GRAFT_RENDEZVOUS_SECONDS": "1", "MASTER_PORT": "\(20000 + Int(getpid()) % 20000)",
        ])
      #expect(alone.code == 69, "\(alone.errors)")
      #expect(alone.errors.contains("rank 1"), "\(alone.errors)")
      #expect(!fixture.exists("run"))
    }
  }
}
