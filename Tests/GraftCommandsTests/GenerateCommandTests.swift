import Foundation
import JSONValues
import TestSupport
import Testing

@Suite struct GenerateCommandTests {
  /// Ids that are no printable ASCII characters, so that texts can be compared and given as options.
  static let unprintable = ((0..<32).map { $0 } + (127..<260).map { $0 })
    .map(String.init).joined(separator: ",")

  private func results(
    _ fixture: CommandFixture, _ more: [String], input: String? = nil
  ) throws -> [JSON] {
    let words = ["generate", "--model", "model", "--json", "--suppress-tokens", Self.unprintable]
    let result = try GraftProcess.run(
      words + more, directory: fixture.directory, input: input)
    #expect(result.code == 0, "\(result.errors)")
    let json = try JSON.parse(Data(result.output.utf8))
    return try #require(json["results"]?.arrayValue)
  }

  private func text(_ row: JSON) throws -> String { try #require(row["text"]?.stringValue) }

  @Test func beamsComeInTheirOrder() throws {
    try CommandFixture.with { fixture in
      let rows = try results(
        fixture,
        [
          "--prompt", "row", "--max-new-tokens", "8", "--num-beams", "4",
          "--num-return-sequences", "3", "--length-penalty", "0.5", "--early-stopping", "never",
        ])
      let scores = rows.compactMap { $0["score"]?.doubleValue }
      #expect(scores.count == 3 && scores == scores.sorted(by: >))
      #expect(rows.compactMap { $0["sequence"]?.intValue } == [0, 1, 2])
      let texts = try rows.map { try text($0) }
      #expect(Set(texts).count == 3)
      #expect(rows.allSatisfy { $0["prompt"] == "row" && $0["finish_reason"] == "length" })
    }
  }

  @Test func logProbabilitiesOfTokensAndAlternatives() throws {
    try CommandFixture.with { fixture in
      let row = try results(
        fixture, ["--prompt", "row", "--max-new-tokens", "5", "--logprobs", "3"])[0]
      let ids = row["ids"]?.arrayValue ?? []
      let values = row["logprobs"]?.arrayValue?.compactMap(\.doubleValue) ?? []
      let best = row["top_logprobs"]?.arrayValue ?? []
      #expect(ids.count == 5 && values.count == 5 && best.count == 5)
      #expect(values.allSatisfy { $0 < 0 })
      for choices in best {
        let numbers = choices.arrayValue?.compactMap { $0["logprob"]?.doubleValue } ?? []
        #expect(numbers.count == 3 && numbers == numbers.sorted(by: >))
      }
      let plain = try results(fixture, ["--prompt", "row", "--max-new-tokens", "5"])[0]
      #expect(plain["logprobs"] == nil && plain["ids"] == row["ids"])
    }
  }

  @Test func stopStringsEndTexts() throws {
    try CommandFixture.with { fixture in
      let words = ["--prompt", "row", "--max-new-tokens", "12", "--no-repeat-ngram-size", "1"]
      let whole = try text(results(fixture, words)[0])
      #expect(whole.count == 12 && Set(whole).count == 12)
      let stop = String(whole.dropFirst(4).prefix(2))
      let row = try results(fixture, words + ["--stop", "no such", "--stop", stop])[0]
      #expect(try text(row) == whole.prefix(6) && row["finish_reason"] == "stop")
      let trimmed = try results(fixture, words + ["--trim-stop", "--stop", stop])[0]
      #expect(try text(trimmed) == whole.prefix(4))
      // What is streamed is the same.
      let streamed = try GraftProcess.run(
        ["generate", "--model", "model", "--suppress-tokens", Self.unprintable] + words
          + ["--trim-stop", "--stop", stop], directory: fixture.directory)
      #expect(streamed.output == whole.prefix(4) + "\n")
      let other = try text(results(fixture, words + ["--bad-word", String(whole.prefix(1))])[0])
      #expect(!other.contains(whole.prefix(1)))
    }
  }

  @Test func filesSayHowTokensAreChosen() throws {
    try CommandFixture.with { fixture in
      let words = ["--prompt", "row", "--max-new-tokens", "20", "--seed", "4"]
      let greedy = try text(results(fixture, words)[0])
      try fixture.write(
        "model/generation_config.json",
        #"{"do_sample": true, "temperature": 3.0, "top_k": 0, "eos_token_id": 256, "colour": 1}"#)
      let drawn = try text(results(fixture, words)[0])
      #expect(drawn != greedy)
      #expect(try text(results(fixture, words)[0]) == drawn)
      #expect(try text(results(fixture, words + ["--no-sample"])[0]) == greedy)
      #expect(try text(results(fixture, words + ["--temperature", "0"])[0]) == greedy)
      #expect(try text(results(fixture, words + ["--top-k", "1"])[0]) == greedy)
      let told = try fixture.graft("generate", "--model", "model", "--prompt", "a").errors
      #expect(told.contains("colour") && told.contains("--no-sample"))
      try fixture.write("own.json", #"{"do_sample": false, "no_repeat_ngram_size": 1}"#)
      let own = try text(results(fixture, words + ["--generation-config", "own.json"])[0])
      #expect(Set(own).count == 20)
      try fixture.write("own.json", #"{"top_p": 7}"#)
      try fixture.expectFailure(
        65, naming: ["own.json", "top_p", "7"],
        ["generate", "--model", "model", "--prompt", "a", "--generation-config", "own.json"])
    }
  }

  @Test func sharedBeginningsChangeNothing() throws {
    try CommandFixture.with { fixture in
      let rows = (0..<5).map { #"{"prompt": "the same beginning \#($0 * $0 * 77)"}"# + "\n" }
      try fixture.write("prompts.jsonl", rows.joined())
      let words = ["--prompts", "prompts.jsonl", "--max-new-tokens", "6", "--batch-size", "2"]
      let plain = try results(fixture, words)
      #expect(plain.count == 5)
      #expect(try results(fixture, words + ["--share-prefix"]) == plain)
      // Rows that are drawn do not depend on their batch.
      let drawn = try results(fixture, words + ["--sample", "--num-return-sequences", "2"])
      let apart = try results(
        fixture, words + ["--sample", "--num-return-sequences", "2", "--batch-size", "1"])
      #expect(drawn.count == 10 && drawn == apart)
    }
  }

  @Test func textFromStandardInputAndSystemPrompts() throws {
    try CommandFixture.with { fixture in
      let words = ["--max-new-tokens", "6"]
      #expect(
        try results(fixture, words + ["--prompt", "-"], input: "row 1:")
          == results(fixture, words + ["--prompt", "row 1:"]))
      #expect(
        try results(fixture, words + ["--chat", "-"], input: "Hello")
          == results(fixture, words + ["--chat", "Hello"]))
      try fixture.write(
        "prompts.jsonl",
        #"{"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]}"#
      )
      let asked = try results(
        fixture, words + ["--chat", "Hello", "--system-prompt", "Be kind."])
      let rows = try results(fixture, words + ["--prompts", "prompts.jsonl"])
      let plain = try results(fixture, words + ["--chat", "Hello"])
      #expect(asked[0]["ids"] == rows[0]["ids"])
      #expect(asked[0]["ids"] != plain[0]["ids"])
    }
  }

  @Test func wrongOptionsAreNamed() throws {
    try CommandFixture.with { fixture in
      for (option, value) in [
        ("top-p", "1.5"), ("top-k", "-1"), ("temperature", "-1"), ("min-p", "2"),
        ("num-beams", "0"),
        ("num-return-sequences", "2"), ("repetition-penalty", "0"), ("eos-token-id", "1,x"),
        ("suppress-tokens", "-4"), ("stop", ""), ("min-new-tokens", "500"), ("logprobs", "3"),
        ("early-stopping", "soon"), ("system-prompt", "Hello"), ("max-time", "-1"),
      ] {
        try fixture.expectFailure(
          64, naming: ["--" + option],
          ["generate", "--model", "model", "--prompt", "a", "--\(option)=\(value)"])
      }
      try fixture.expectFailure(
        65, naming: ["forced_bos_token_id", "260"],
        ["generate", "--model", "model", "--prompt", "a", "--forced-bos-token-id", "260"])
    }
  }
}
