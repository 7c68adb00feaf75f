import Foundation
import JSONValues
import TestSupport
import Testing

/// `graft train --task sequence-classification` and what comes of it.
@Suite struct ClassificationCommandTests {
  /// Texts whose class is their only letter.
  private static func rows(_ count: Int, labels: [String] = ["\"no\"", "\"yes\""]) -> String {
    (0..<count).map { index in
      let letter = index % 2 == 0 ? "n" : "y"
      let text = String(repeating: letter + " ", count: 1 + index % 4)
      return "{\"text\": \"\(text)!\", \"label\": \(labels[index % 2])}\n"
    }.joined()
  }

  private func trained(
    _ fixture: CommandFixture, _ more: [String] = [], output: String = "run"
  ) throws {
    let result = try GraftProcess.run(
      [
        "train", "--model", "model", "--data", "rows.jsonl", "--output", output, "--task",
        "sequence-classification", "--max-steps", "30", "--batch-size", "8", "--learning-rate",
        "3e-2", "--schedule", "constant", "--log-every", "1", "--rank", "4",
      ] + more, directory: fixture.directory)
    #expect(result.code == 0, "\(result.errors)")
  }

  private func figures(_ fixture: CommandFixture, _ more: String...) throws -> JSON {
    let result = try GraftProcess.run(
      ["evaluate", "--model", "model", "--data", "rows.jsonl", "--json"] + more,
      directory: fixture.directory)
    #expect(result.code == 0, "\(result.errors)")
    return try JSON.parse(Data(result.output.utf8))
  }

  @Test func aNewHeadIsTrainedAndSavedWithTheAdapter() throws {
    try CommandFixture.with { fixture in
      try fixture.write("rows.jsonl", Self.rows(24))
      try trained(fixture, ["--eval-data", "rows.jsonl"])
      let config = try JSON.parse(fixture.bytes("run/adapter_config.json"))
      #expect(config["task_type"]?.stringValue == "SEQ_CLS")
      let whole = config["modules_to_save"]?.arrayValue?.compactMap(\.stringValue)
      #expect(whole == ["classifier", "score"])
      let labels = try JSON.parse(fixture.bytes("run/labels.json"))
      #expect(labels["labels"]?.arrayValue?.compactMap(\.stringValue) == ["no", "yes"])
      // The adapter's file says the task; classes have the names of the training data.
      let found = try figures(fixture, "--adapter", "run", "--show", "2")
      #expect(found["accuracy"]?.doubleValue == 1)
      #expect(found["f1"]?.doubleValue == 1)
      #expect(found["f1_per_class"]?["yes"]?.doubleValue == 1)
      #expect(found["samples"]?.arrayValue?.first?["answer"]?.stringValue == "no")
      let rows = try fixture.metrics()
      let last = try #require(rows.last { $0["eval_loss"] != nil })
      #expect(last["eval_accuracy"]?.doubleValue == 1)
      let (inTraining, after) = (last["eval_loss"]?.doubleValue, found["loss"]?.doubleValue)
      #expect(abs((inTraining ?? 0) - (after ?? 1)) < 1e-5)
      // Without the adapter there is no head.
      let bare = try fixture.graft(
        "evaluate", "--model", "model", "--data", "rows.jsonl", "--task",
        "sequence-classification")
      #expect(bare.code == 65)
      #expect(bare.errors.contains("score"))
    }
  }

  @Test func aStoppedRunGoesOnWithTheSameNumbers() throws {
    try CommandFixture.with { fixture in
      try fixture.write("rows.jsonl", Self.rows(24))
      try trained(fixture, ["--save-every", "10", "--dropout", "0.1"])
      try trained(
        fixture, ["--save-every", "10", "--dropout", "0.1", "--max-steps", "10"], output: "again")
      let result = try fixture.graft("train", "--resume", "again", "--max-steps", "30")
      #expect(result.code == 0, "\(result.errors)")
      #expect(try fixture.losses("again").suffix(20) == fixture.losses().suffix(20))
    }
  }

  @Test func severalClassesAndNumbers() throws {
    try CommandFixture.with { fixture in
      try fixture.write("rows.jsonl", Self.rows(24, labels: ["[\"a\", \"b\"]", "[]"]))
      try trained(fixture)
      let several = try figures(fixture, "--adapter", "run")
      #expect(several["accuracy"]?.doubleValue == 1)

      try fixture.write("rows.jsonl", Self.rows(24, labels: ["-0.5", "1.5"]))
      try trained(fixture, ["--max-steps", "60"], output: "numbers")
      let found = try figures(fixture, "--adapter", "numbers")
      #expect(found["mse"]?.doubleValue ?? 1 < 0.05)
      #expect(found["pearson"]?.doubleValue ?? 0 > 0.9)
      #expect(found["accuracy"] == nil)
    }
  }

  @Test func wrongInputIsNamed() throws {
    try CommandFixture.with { fixture in
      func refused(_ code: Int32, _ mentions: [String], _ more: [String]) throws {
        try fixture.expectFailure(
          code, naming: mentions,
          [
            "train", "--model", "model", "--output", "out", "--task", "sequence-classification",
            "--data", "rows.jsonl",
          ] + more)
      }
      // The fixture's rows are prompts with completions.
      try refused(65, ["rows.jsonl:1", "classification"], [])
      try fixture.write("rows.jsonl", Self.rows(4, labels: ["\"a\"", "\"a\""]))
      try refused(65, ["one label, a"], [])
      try fixture.write("rows.jsonl", Self.rows(4, labels: ["\"a\"", "1"]))
      try refused(65, ["rows.jsonl:2", "label"], [])
      try fixture.write("rows.jsonl", Self.rows(4))
      try refused(64, ["--packing"], ["--packing"])
      try refused(64, ["--max-length 500", "128"], ["--max-length", "500"])
      try refused(64, ["feature-extraction"], ["--task", "feature-extraction"])
    }
  }
}
