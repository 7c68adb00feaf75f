import Foundation
import JSONValues
import TestSupport
import Testing

/// `graft train --task seq2seq-lm` and what comes of it.
@Suite struct Seq2SeqCommandTests {
  /// Letters, of which the answer is the same in the other order.
  private static func rows(_ count: Int) -> String {
    (0..<count).map { index in
      let text = "abcd".prefix(1 + index % 4)
      return "{\"source\": \"\(text)\", \"target\": \"\(String(text.reversed()))\"}\n"
    }.joined()
  }

  private func inDirectory(
    bart: Bool = false, _ body: (CommandFixture) throws -> Void
  ) throws {
    try withTemporaryDirectory { directory in
      let fixture = CommandFixture(directory: directory)
      try TinySeq2Seq { $0.isBART = bart }.write(to: fixture.path("model"))
      try fixture.write("rows.jsonl", Self.rows(12))
      try body(fixture)
    }
  }

  private func json(_ fixture: CommandFixture, _ words: String...) throws -> JSON {
    let result = try GraftProcess.run(words + ["--json"], directory: fixture.directory)
    #expect(result.code == 0, "\(result.errors)")
    return try JSON.parse(Data(result.output.utf8))
  }

  @Test(arguments: [false, true]) func anAdapterIsTrainedAndUsed(bart: Bool) throws {
    try inDirectory(bart: bart) { fixture in
      try fixture.train([
        "--eval-data", "rows.jsonl", "--max-steps", "20", "--activation-checkpointing",
        "--base-dropout", "off",
      ])
      let losses = try fixture.losses()
      #expect(losses.count == 20)
      #expect(losses[19] < losses[0] - 0.3, "\(losses)")
      let config = try JSON.parse(fixture.bytes("run/adapter_config.json"))
      #expect(config["task_type"]?.stringValue == "SEQ_2_SEQ_LM")
      let recipe = try JSON.parse(fixture.bytes("run/recipe.json"))
      #expect(recipe["task"]?.stringValue == "seq2seq-lm")
      #expect(recipe["max-target-length"]?.stringValue == (bart ? "96" : "1024"))
      let evaluated = try json(
        fixture, "evaluate", "--model", "model", "--adapter", "run", "--data", "rows.jsonl",
        "--metrics", "loss,perplexity,exact-match", "--show", "1", "--max-new-tokens", "6")
      let last = try #require(fixture.metrics().last { $0["eval_loss"] != nil })
      let (inTraining, after) = (last["eval_loss"]?.doubleValue, evaluated["loss"]?.doubleValue)
      #expect(abs((inTraining ?? 0) - (after ?? 1)) < 1e-5)
      #expect(evaluated["samples"]?.arrayValue?.first?["source"]?.stringValue == "a")
      #expect(evaluated["samples"]?.arrayValue?.first?["expected"]?.stringValue == "a")

      // Merged it is the same model; a second merge of nothing but the base keeps its head.
      let merged = try fixture.graft(
        "merge", "--model", "model", "--adapter", "run", "--output", "merged")
      #expect(merged.code == 0, "\(merged.errors)")
      let alone = try json(
        fixture, "evaluate", "--model", "merged", "--data", "rows.jsonl", "--metrics", "loss")
      #expect(abs((alone["loss"]?.doubleValue ?? 0) - (after ?? 1)) < 1e-4)
      let written = try JSON.parse(fixture.bytes("merged/config.json"))
      #expect(written["tie_word_embeddings"] != false)
      let texts = try ["model", "merged"].map { model in
        try json(
          fixture, "generate", "--model", model, "--prompt", "abc", "--max-new-tokens", "5",
          "--num-beams", "3", "--num-return-sequences", "2"
        )["results"]?.arrayValue?.compactMap { $0["ids"] } ?? []
      }
      #expect(texts.map(\.count) == [2, 2])
      let adapted = try json(
        fixture, "generate", "--model", "model", "--adapter", "run", "--prompt", "abc",
        "--max-new-tokens", "5", "--num-beams", "3", "--num-return-sequences", "2")
      #expect(adapted["results"]?.arrayValue?.compactMap { $0["ids"] } == texts[1])
    }
  }

  @Test func aStoppedRunGoesOnWithTheSameNumbers() throws {
    try inDirectory { fixture in
      let more = [
        "--save-every", "4", "--dropout", "0.1", "--schedule", "constant", "--max-steps", "12",
      ]
      try fixture.train(more)
      try fixture.train(more + ["--max-steps", "4"], output: "again")
      let result = try fixture.graft("train", "--resume", "again", "--max-steps", "12")
      #expect(result.code == 0, "\(result.errors)")
      #expect(try fixture.losses("again").suffix(8) == fixture.losses().suffix(8))
      let name = "/adapter_model.safetensors"
      #expect(try fixture.bytes("again" + name) == fixture.bytes("run" + name))
    }
  }

  /// Encoder and decoder read different numbers of tokens, also where their rows are equally long.
  @Test(arguments: ["eva", "lora_ga", "pissa"]) func startsOfAnAdapter(_ start: String) throws {
    try inDirectory { fixture in
      try fixture.train([
        "--init-lora-weights", start, "--max-steps", "8", "--calibration-batches", "2",
        "--batch-size",
        "12",
      ])
      let losses = try fixture.losses()
      #expect(losses[7] < losses[0], "\(losses)")
    }
  }

  @Test(arguments: [false, true]) func allWeightsLearnTheTask(bart: Bool) throws {
    try inDirectory(bart: bart) { fixture in
      let result = try GraftProcess.run(
        [
          "train", "--model", "model", "--method", "full", "--data", "rows.jsonl", "--output",
          "run", "--max-steps", "150", "--batch-size", "12", "--learning-rate", "1e-2",
          "--save-every", "100", "--base-dropout", "off",
        ], directory: fixture.directory)
      #expect(result.code == 0, "\(result.errors)")
      // The run's directory is a model, and so is its checkpoint.
      let found = try json(
        fixture, "evaluate", "--model", "run", "--data", "rows.jsonl", "--metrics", "exact-match",
        "--max-new-tokens", "6")
      #expect(found["exact_match"]?.doubleValue == 1)
      let again = try fixture.graft("train", "--resume", "run", "--max-steps", "151")
      #expect(again.code == 0, "\(again.errors)")
      let text = try fixture.graft("generate", "--model", "run", "--prompt", "abcd")
      #expect(text.output == "dcba\n", "\(text.errors)")
    }
  }

  @Test func batchesOfAFileAndPreviews() throws {
    try inDirectory { fixture in
      try fixture.write(
        "sources.jsonl",
        "{\"source\": \"abcabc\"}\n{\"source\": \"b\"}\n{\"source\": \"\u{e9}!\"}\n")
      let texts = try ["1", "3"].map { size in
        try json(
          fixture, "generate", "--model", "model", "--prompts", "sources.jsonl", "--batch-size",
          size, "--max-new-tokens", "7", "--logprobs", "2")["results"]
      }
      let rows = try #require(texts[0]?.arrayValue)
      #expect(rows.map { $0["prompt"]?.stringValue } == ["abcabc", "b", "\u{e9}!"])
      #expect(rows.map { $0["ids"] } == texts[1]?.arrayValue?.map { $0["ids"] })
      #expect(rows.allSatisfy { $0["logprobs"]?.arrayValue?.count == $0["ids"]?.arrayValue?.count })

      let preview = try json(
        fixture, "data", "preview", "--model", "model", "--data", "rows.jsonl", "--rows", "2",
        "--max-target-length", "2")
      let row = try #require(preview["rows"]?.arrayValue?.last)
      #expect(row["tokens"]?.arrayValue?.compactMap { $0["id"]?.intValue } == [97, 98, 257])
      let written = try #require(row["target_tokens"]?.arrayValue)
      #expect(written.map { $0["role"]?.stringValue } == ["target", "cut", "target"])
      #expect(written.map { $0["label"]?.intValue } == [98, nil, 257])
      #expect(preview["report"]?["longest_target"]?.intValue == 2)
      let shown = try fixture.graft(
        "data", "preview", "--model", "model", "--data", "rows.jsonl", "--rows", "1")
      #expect(shown.output.contains("what is written:"))
    }
  }

  @Test func wrongInputIsNamed() throws {
    try inDirectory(bart: true) { fixture in
      func refused(_ code: Int32, _ mentions: [String], _ words: [String]) throws {
        try fixture.expectFailure(code, naming: mentions, words)
      }
      let train = fixture.training()
      try refused(64, ["--packing"], train + ["--packing"])
      try refused(64, ["--prompt-style", "conversations"], train + ["--prompt-style", "chat"])
      try refused(64, ["--max-length 500", "96"], train + ["--max-length", "500"])
      try refused(64, ["--max-target-length 97", "96"], train + ["--max-target-length", "97"])
      try refused(65, ["token-classification"], train + ["--task", "token-classification"])
      try fixture.write("rows.jsonl", "{\"text\": \"x\"}\n")
      try refused(65, ["rows.jsonl:1", "\"source\""], train)
      try refused(
        64, ["conversation", "generate --prompt"], ["chat", "--model", "model"])
      try refused(64, ["no conversations"], ["generate", "--model", "model", "--chat", "x"])
      try refused(
        64, ["--share-prefix"], ["generate", "--model", "model", "--prompt", "x", "--share-prefix"])
      try refused(
        65, ["101 tokens", "96"],
        ["generate", "--model", "model", "--prompt", String(repeating: "x", count: 100)])
      try refused(
        64, ["exact-math", "exact-match"],
        ["evaluate", "--model", "model", "--data", "rows.jsonl", "--metrics", "exact-math"])
    }
  }
}
