import Checkpoints
import Foundation
import JSONValues
import TestSupport
import Testing

/// `graft train`, `evaluate`, `merge` and `data preview` of models with heads.
@Suite struct TaskCommandTests {
  /// Words whose class is their letter: entities of "a b" among others.
  private static let tags: String = (0..<24).map { index in
    let before = String(repeating: "\"x\", ", count: index % 3)
    let none = String(repeating: "\"O\", ", count: index % 3)
    return "{\"tokens\": [\(before)\"a\", \"b\", \"x\"], "
      + "\"labels\": [\(none)\"B-AB\", \"I-AB\", \"O\"]}\n"
  }.joined()

  /// The answer is the letter q, wherever it stands.
  private static let questions: String = (0..<24).map { index in
    let before = String(repeating: "x y ", count: index % 5)
    let answers = "{\"text\": [\"q\"], \"answer_start\": [\(before.utf8.count)]}"
    return "{\"question\": \"w\", \"context\": \"\(before)q z\", \"answers\": \(answers)}\n"
  }.joined()

  /// What is hidden follows from what is left.
  private static let texts: String = (0..<16).map { index in
    let letter = TinyEncoder.letters[index % 3]
    return "{\"text\": \"" + Array(repeating: letter, count: 6 + index % 4).joined(separator: " ")
      + "\"}\n"
  }.joined()

  private static func with(_ dropout: Double = 0, _ body: (CommandFixture) throws -> Void) throws {
    try CommandFixture.with { fixture in
      try FileManager.default.removeItem(atPath: fixture.path("model"))
      try TinyEncoder(dropout: dropout).write(to: fixture.path("model"))
      try body(fixture)
    }
  }

  private func trained(
    _ fixture: CommandFixture, _ task: String, steps: Int = 30, output: String = "run",
    _ more: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let result = try GraftProcess.run(
      [
        "train", "--model", "model", "--data", "rows.jsonl", "--output", output, "--task", task,
        "--max-steps", "\(steps)", "--batch-size", "8", "--learning-rate", "3e-2", "--schedule",
        "constant", "--log-every", "1",
      ] + more, directory: fixture.directory)
    #expect(result.code == 0, "\(result.errors)", sourceLocation: sourceLocation)
  }

  private func figures(
    _ fixture: CommandFixture, _ model: String, _ more: [String] = [],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> JSON {
    let result = try GraftProcess.run(
      ["evaluate", "--model", model, "--data", "rows.jsonl", "--json"] + more,
      directory: fixture.directory)
    #expect(result.code == 0, "\(result.errors)", sourceLocation: sourceLocation)
    return try JSON.parse(Data(result.output.utf8))
  }

  /// Evaluated within the run and afterwards, merged or not, figures are the same.
  private func expectSame(
    _ fixture: CommandFixture, _ figures: JSON, _ names: [String],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let last = try #require(fixture.metrics().last { $0["eval_loss"] != nil })
    let merge = try fixture.graft(
      "merge", "--model", "model", "--adapter", "run", "--output", "merged")
    #expect(merge.code == 0, "\(merge.errors)", sourceLocation: sourceLocation)
    let merged = try self.figures(fixture, "merged")
    for name in names {
      let value = try #require(figures[name]?.doubleValue, "\(name)")
      let inTraining = last["eval_" + name]?.doubleValue ?? -1
      #expect(abs(value - inTraining) < 1e-5, "\(name)", sourceLocation: sourceLocation)
      let after = merged[name]?.doubleValue ?? -1
      #expect(abs(value - after) < 1e-4, "\(name)", sourceLocation: sourceLocation)
    }
  }

  @Test func tokensAreClassified() throws {
    try Self.with { fixture in
      try fixture.write("rows.jsonl", Self.tags)
      try trained(fixture, "token-classification", ["--eval-data", "rows.jsonl"])
      let labels = try JSON.parse(fixture.bytes("run/labels.json"))
      #expect(
        labels["labels"]?.arrayValue?.compactMap(\.stringValue) == ["B-AB", "I-AB", "O"])
      let found = try figures(fixture, "model", ["--adapter", "run", "--show", "1"])
      #expect(found["f1"]?.doubleValue == 1)
      #expect(found["f1_per_class"]?["AB"]?.doubleValue == 1)
      let answer = found["samples"]?.arrayValue?.first?["answer"]?.arrayValue
      #expect(answer?.compactMap(\.stringValue) == ["B-AB", "I-AB", "O"])
      try expectSame(fixture, found, ["loss", "accuracy", "precision", "recall", "f1"])
      let config = try JSON.parse(fixture.bytes("merged/config.json"))
      #expect(
        config["architectures"]?.arrayValue?.first?.stringValue == "BertForTokenClassification")
      #expect(config["id2label"]?["1"]?.stringValue == "I-AB")
      #expect(config["label2id"]?["O"]?.intValue == 2)
      #expect(!fixture.exists("merged/labels.json"))
    }
  }

  /// Several processes share the evaluation out; its figures are those of one, to the last bit.
  @Test(arguments: ["token-classification", "question-answering", "masked-lm"])
  func processesShareEvaluations(_ task: String) throws {
    try Self.with { fixture in
      try fixture.write(
        "rows.jsonl",
        ["token-classification": Self.tags, "question-answering": Self.questions][task]
          ?? Self.texts)
      let words = [
        "train", "--model", "model", "--data", "rows.jsonl", "--task", task, "--max-steps", "4",
        "--batch-size", "5", "--deterministic", "4", "--eval-data", "rows.jsonl", "--eval-every",
        "2",
      ]
      func figures(_ processes: Int) throws -> [String] {
        let output = "run\(processes)"
        let train = words + ["--output", output]
        let result = try GraftProcess.run(
          processes == 1 ? train : ["launch", "--processes", "\(processes)", "--"] + train,
          directory: fixture.directory)
        #expect(result.code == 0, "\(result.errors)")
        return try fixture.metrics(output).filter { $0["eval_loss"] != nil }.map { $0.serialized() }
      }
      let expected = try figures(1)
      #expect(expected.count == 2)
      #expect(try figures(3) == expected)
    }
  }

  @Test func answersAreFoundAlsoInWindows() throws {
    try Self.with { fixture in
      try fixture.write("rows.jsonl", Self.questions)
      let windows = ["--max-length", "9", "--stride", "2"]
      try trained(
        fixture, "question-answering", steps: 100,
        ["--eval-data", "rows.jsonl", "--learning-rate", "1e-2"] + windows)
      #expect(!fixture.exists("run/labels.json"))
      let found = try figures(fixture, "model", ["--adapter", "run", "--show", "1"] + windows)
      #expect(found["exact_match"]?.doubleValue == 1)
      #expect(found["f1"]?.doubleValue == 1)
      #expect(found["samples"]?.arrayValue?.first?["answer"]?.stringValue == "q")
      let last = try #require(fixture.metrics().last { $0["eval_loss"] != nil })
      for name in ["loss", "exact_match", "f1"] {
        let (one, other) = (found[name]?.doubleValue, last["eval_" + name]?.doubleValue)
        #expect(abs((one ?? -1) - (other ?? -2)) < 1e-5, "\(name)")
      }
      // As one word, as elsewhere on the command line.
      let named = try figures(
        fixture, "model", ["--adapter", "run", "--metrics", "exact-match"] + windows)
      #expect(named["exact_match"]?.doubleValue == found["exact_match"]?.doubleValue)
    }
  }

  @Test func hiddenTokensAreFilledInAndARunGoesOnAlike() throws {
    try Self.with(0.1) { fixture in
      try fixture.write("rows.jsonl", Self.texts)
      let more = ["--mask-probability", "0.4", "--save-every", "10", "--dropout", "0.1"]
      try trained(fixture, "masked-lm", more + ["--eval-data", "rows.jsonl"])
      let options = ["--task", "masked-lm", "--mask-probability", "0.4"]
      let before = try figures(fixture, "model", options)
      let found = try figures(fixture, "model", ["--adapter", "run"] + options)
      let (old, new) = (before["loss"]?.doubleValue ?? 0, found["loss"]?.doubleValue ?? 9)
      #expect(new < 0.6 * old, "\(old) \(new)")
      let (first, then) = (
        before["accuracy"]?.doubleValue ?? 1, found["accuracy"]?.doubleValue ?? 0
      )
      #expect(then > first + 0.2, "\(first) \(then)")
      let last = try #require(fixture.metrics().last { $0["eval_loss"] != nil })
      #expect(abs(new - (last["eval_loss"]?.doubleValue ?? 0)) < 1e-5)
      // Dropout of the model and what is hidden go on where they were.
      try trained(fixture, "masked-lm", steps: 10, output: "again", more)
      let result = try fixture.graft("train", "--resume", "again", "--max-steps", "30")
      #expect(result.code == 0, "\(result.errors)")
      #expect(try fixture.losses("again").suffix(20) == fixture.losses().suffix(20))
      // Without the model's own dropout the losses are others.
      try trained(
        fixture, "masked-lm", steps: 3, output: "off", more + ["--base-dropout", "off"])
      #expect(try fixture.losses("off")[0] != fixture.losses()[0])
    }
  }

  @Test func allWeightsAreTrainedAndTheRunIsTheModel() throws {
    try Self.with(0.1) { fixture in
      try fixture.write("rows.jsonl", Self.tags)
      let more = ["--method", "full", "--learning-rate", "1e-2", "--save-every", "10"]
      try trained(fixture, "token-classification", more + ["--eval-data", "rows.jsonl"])
      let found = try figures(fixture, "run")
      #expect(found["f1"]?.doubleValue == 1)
      let config = try JSON.parse(fixture.bytes("run/config.json"))
      #expect(
        config["architectures"]?.arrayValue?.first?.stringValue == "BertForTokenClassification")
      let file = try SafetensorsFile(path: fixture.path("run/model.safetensors"))
      #expect(file["classifier.weight"]?.shape == [3, 16])
      #expect(file["bert.pooler.dense.weight"] == nil)
      try trained(fixture, "token-classification", steps: 10, output: "again", more)
      let result = try fixture.graft("train", "--resume", "again", "--max-steps", "30")
      #expect(result.code == 0, "\(result.errors)")
      #expect(try fixture.losses("again").suffix(20) == fixture.losses().suffix(20))
    }
  }

  @Test func aHeadOverTheVocabularyIsWrittenAsItWas() throws {
    try Self.with { fixture in
      try fixture.write("rows.jsonl", Self.texts)
      try trained(fixture, "masked-lm", steps: 3, ["--method", "full"])
      let file = try SafetensorsFile(path: fixture.path("run/model.safetensors"))
      let source = try SafetensorsFile(path: fixture.path("model/model.safetensors"))
      #expect(Set(file.entries.map(\.name)) == Set(source.entries.map(\.name)))
      let found = try figures(fixture, "run")
      let last = try #require(fixture.metrics().last)
      #expect(found["loss"]?.doubleValue ?? 9 < 10 && last["loss"] != nil)
    }
  }

  @Test func virtualTokensAreTrainedWithAHead() throws {
    try Self.with { fixture in
      try fixture.write("rows.jsonl", Self.tags)
      for method in ["prompt_tuning", "prefix_tuning", "p_tuning"] {
        try trained(
          fixture, "token-classification", steps: 20, output: method,
          ["--method", method, "--virtual-tokens", "3", "--eval-data", "rows.jsonl"])
        let found = try figures(fixture, "model", ["--adapter", method])
        let last = try #require(fixture.metrics(method).last { $0["eval_loss"] != nil })
        let value = found["loss"]?.doubleValue ?? -1
        #expect(abs(value - (last["eval_loss"]?.doubleValue ?? 0)) < 1e-4, "\(method)")
        let losses = try fixture.losses(method)
        #expect((losses.last ?? 9) < 0.5 * losses[0], "\(method) \(losses)")
      }
      try fixture.expectFailure(
        64, naming: ["48", "3 virtual"],
        [
          "train", "--model", "model", "--data", "long.jsonl", "--output", "out", "--task",
          "token-classification", "--method", "prompt_tuning", "--virtual-tokens", "3",
        ].map { $0 == "long.jsonl" ? try fixture.long() : $0 })
    }
  }

  @Test func decodersClassifyTokensAndFindAnswers() throws {
    try CommandFixture.with { fixture in
      for (task, rows) in [
        ("token-classification", Self.tags), ("question-answering", Self.questions),
      ] {
        try fixture.write("rows.jsonl", rows)
        try trained(fixture, task, steps: 4, output: task, ["--eval-data", "rows.jsonl"])
        let found = try figures(fixture, "model", ["--adapter", task])
        let merge = try fixture.graft(
          "merge", "--model", "model", "--adapter", task, "--output", "merged-" + task)
        #expect(merge.code == 0, "\(merge.errors)")
        let merged = try figures(fixture, "merged-" + task)
        let (one, other) = (found["loss"]?.doubleValue, merged["loss"]?.doubleValue)
        #expect(abs((one ?? -1) - (other ?? -2)) < 1e-4, "\(task)")
      }
      let names = try SafetensorsFile(
        path: fixture.path("merged-question-answering/model.safetensors")
      ).entries.map(\.name)
      #expect(names.contains("transformer.norm.weight") && names.contains("qa_outputs.bias"))
    }
  }

  @Test func previewsSayWhatIsAsked() throws {
    try Self.with { fixture in
      func preview(_ task: String, _ rows: String, _ more: [String] = []) throws -> String {
        try fixture.write("rows.jsonl", rows)
        let result = try GraftProcess.run(
          ["data", "preview", "--model", "model", "--data", "rows.jsonl", "--task", task] + more,
          directory: fixture.directory)
        #expect(result.code == 0, "\(result.errors)")
        return result.output
      }
      let tags = try preview("token-classification", Self.tags)
      #expect(tags.contains("B-AB") && tags.contains("3 count towards the loss"), "\(tags)")
      let answers = try preview(
        "question-answering", Self.questions, ["--max-length", "9", "--stride", "2"])
      #expect(answers.contains("start, end") && answers.contains("an answer"), "\(answers)")
      let texts = try preview("masked-lm", Self.texts, ["--mask-probability", "0.5"])
      #expect(texts.contains("[MASK]"), "\(texts)")
      let rows = try preview(
        "sequence-classification",
        "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\", \"label\": \"y\"}\n")
      #expect(rows.contains("asked as a whole: \"x\""), "\(rows)")
    }
  }

  @Test func wrongInputIsNamed() throws {
    try Self.with { fixture in
      func refused(_ task: String, _ code: Int32, _ mentions: [String], _ more: [String] = [])
        throws
      {
        try fixture.expectFailure(
          code, naming: mentions,
          ["train", "--model", "model", "--output", "out", "--task", task, "--data", "rows.jsonl"]
            + more)
      }
      // The fixture's rows are prompts with completions.
      try refused("token-classification", 65, ["rows.jsonl:1", "token-classification"])
      try refused("question-answering", 65, ["rows.jsonl:1", "question-answering"])
      try refused("masked-lm", 65, ["rows.jsonl:1", "text"])
      try refused("feature-extraction", 64, ["feature-extraction", "masked-lm"])
      try fixture.write("rows.jsonl", Self.questions)
      try refused(
        "question-answering", 64, ["stride", "40"], ["--stride", "40", "--max-length", "30"])
      try fixture.write("rows.jsonl", Self.texts)
      try refused("masked-lm", 64, ["mask-probability", "1.5"], ["--mask-probability", "1.5"])
      try refused("masked-lm", 64, ["--packing"], ["--packing"])
      try fixture.write("rows.jsonl", Self.tags)
      try refused("token-classification", 64, ["base-dropout"], ["--base-dropout", "maybe"])
    }
    // A tokenizer that has no mask, a model that has no such head.
    try CommandFixture.with { fixture in
      try fixture.write("rows.jsonl", Self.texts)
      try fixture.expectFailure(
        65, naming: ["llama", "bert"],
        [
          "train", "--model", "model", "--output", "out", "--task", "masked-lm", "--data",
          "rows.jsonl",
        ])
    }
  }
}

extension CommandFixture {
  /// A file with a row of fifty words; its name.
  fileprivate func long() throws -> String {
    let words = Array(repeating: "\"a\"", count: 50).joined(separator: ", ")
    let labels = ["\"x\""] + Array(repeating: "\"y\"", count: 49)
    try write(
      "long.jsonl",
      "{\"tokens\": [\(words)], \"labels\": [\(labels.joined(separator: ", "))]}\n")
    return "long.jsonl"
  }
}
