import Foundation
import JSONValues
import TestSupport
import Testing

/// `graft tokenize --offsets`, `--pair`, `--requests` and `--count`.
@Suite struct TokenizeCommandTests {
  @Test func offsetsAndPairs() throws {
    try CommandFixture.with { fixture in
      let output = try fixture.graft(
        "tokenize", "--model", "model", "--text", "h\u{e9}!", "--pair", "x", "--no-special-tokens"
      ).output
      let encoding = try JSON.parse(Data(output.utf8))
      let offsets = encoding["offsets"]?.arrayValue?.map { $0.arrayValue?.compactMap(\.intValue) }
      #expect(offsets == [[0, 1], [1, 2], [1, 2], [2, 3], [0, 1]])
      #expect(encoding["sequence_ids"]?.arrayValue?.compactMap(\.intValue) == [0, 0, 0, 0, 1])
    }
  }

  @Test func requestsAndCounts() throws {
    try CommandFixture.with { fixture in
      let rule = #"{"max_length": 2, "strategy": "LongestFirst", "stride": 0}"#
      try fixture.write(
        "requests.jsonl",
        #"{"text": "abc", "add_special_tokens": false, "truncation": \#(rule)}"# + "\n"
          + #"{"text": "a", "truncation": {"max_length": 1, "strategy": "OnlySecond", "stride": 0}}"#
          + "\n" + #"{"decode": []}"# + "\n")
      let output = try fixture.graft("tokenize", "--model", "model", "--requests", "requests.jsonl")
        .output
      let answers = try output.split(separator: "\n").map { try JSON.parse(Data($0.utf8)) }
      #expect(answers.count == 3)
      #expect(answers[0]["ids"]?.arrayValue?.count == 2)
      #expect(answers[0]["overflowing"]?.arrayValue?.count == 1)
      #expect(answers[2]["text"]?.stringValue == "")
      for more in [[], ["--all-cores"]] {
        let counted = try GraftProcess.run(
          ["tokenize", "--model", "model", "--file", "requests.jsonl", "--count"] + more,
          directory: fixture.directory)
        #expect(try JSON.parse(Data(counted.output.utf8))["texts"]?.intValue == 3)
      }
      try fixture.write("bad.jsonl", #"{"text": 3}"# + "\n")
      try fixture.expectFailure(
        65, naming: ["bad.jsonl", "line 1"],
        ["tokenize", "--model", "model", "--requests", "bad.jsonl"])
    }
  }
}
