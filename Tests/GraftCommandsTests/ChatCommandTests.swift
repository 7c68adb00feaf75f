import Foundation
import JSONValues
import TestSupport
import Testing

@Suite struct ChatCommandTests {
  private static let words = [
    "--model", "model", "--max-new-tokens", "6", "--suppress-tokens",
    GenerateCommandTests.unprintable,
  ]

  private func chat(
    _ fixture: CommandFixture, _ lines: [String], _ more: [String] = [], expecting code: Int32 = 0
  ) throws -> (answers: [String], errors: String) {
    let result = try GraftProcess.run(
      ["chat"] + Self.words + more, directory: fixture.directory,
      input: lines.joined(separator: "\n"))
    #expect(result.code == code, "\(result.errors)")
    let answers = result.output.split(separator: "\n", omittingEmptySubsequences: false)
    return (answers.dropLast().map(String.init), result.errors)
  }

  /// What `generate` answers to a conversation, from nothing.
  private func answer(
    _ fixture: CommandFixture, to messages: [(String, String)], _ more: [String] = []
  ) throws -> String {
    let row = JSON.object(
      JSONObject([
        (
          "messages",
          .array(messages.map { ["role": .string($0.0), "content": .string($0.1)] })
        )
      ]))
    try fixture.write("prompts.jsonl", row.serialized() + "\n")
    let result = try GraftProcess.run(
      ["generate", "--prompts", "prompts.jsonl", "--json"] + Self.words + more,
      directory: fixture.directory)
    let json = try JSON.parse(Data(result.output.utf8))
    return try #require(json["results"]?.arrayValue?[0]["text"]?.stringValue)
  }

  /// Each answer sees all that was said, though nothing is computed twice.
  @Test func answersFollowTheConversation() throws {
    try CommandFixture.with { fixture in
      let (answers, errors) = try chat(fixture, ["Hi", "And you?", "/reset", "Hi"])
      #expect(answers.count == 3 && answers[0].count == 6)
      #expect(try answer(fixture, to: [("user", "Hi")]) == answers[0])
      let second = [("user", "Hi"), ("assistant", answers[0]), ("user", "And you?")]
      #expect(try answer(fixture, to: second) == answers[1])
      #expect(answers[2] == answers[0])
      #expect(errors.contains("begins anew"))
    }
  }

  @Test func systemPromptsAndLongMessages() throws {
    try CommandFixture.with { fixture in
      let expected = try answer(fixture, to: [("system", "Be kind."), ("user", "Hi\nthere")])
      #expect(
        try chat(fixture, ["Hi\\", "there"], ["--system-prompt", "Be kind."]).answers == [expected])
      #expect(try chat(fixture, ["/system Be kind.", "Hi\\", "there"]).answers == [expected])
      // A message that begins with a stroke.
      #expect(
        try chat(fixture, ["//exit"]).answers == [answer(fixture, to: [("user", "/exit")])])
      // What was said first is left out where there is no room for it.
      let long = String(repeating: "a", count: 50)
      #expect(try chat(fixture, [long, long, "b"]).answers.count == 3)
    }
  }

  @Test func adaptersAreSwitched() throws {
    try CommandFixture.with { fixture in
      try fixture.train(["--max-steps", "30", "--learning-rate", "5e-2"])
      let alone = try answer(fixture, to: [("user", "row 1:")])
      let adapted = try answer(fixture, to: [("user", "row 1:")], ["--adapter", "run"])
      #expect(alone != adapted)
      let lines = [
        "row 1:", "/adapter none", "/reset", "row 1:", "/adapter mine", "/reset", "row 1:",
        "/adapters",
      ]
      let (answers, errors) = try chat(fixture, lines, ["--adapter", "mine=run"])
      #expect(answers == [adapted, alone, adapted])
      #expect(errors.contains("mine (acts)"))
      // An adapter that was not there at the start.
      let later = try chat(fixture, ["row 1:", "/reset", "/adapter run", "row 1:"])
      #expect(later.answers == [alone, adapted])
    }
  }

  @Test func ordersThatAreNoneAreTold() throws {
    try CommandFixture.with { fixture in
      let (answers, errors) = try chat(
        fixture,
        [
          "/adaptr", "/adapter nowhere", "/again", "/help", "/history", "Hi", "/history", "/exit",
          "Hi",
        ])
      #expect(answers.count == 1)
      for word in [
        "/adapter?", "nowhere", "no answer yet", "/reset", "Nothing was said", "user: Hi",
      ] {
        #expect(errors.contains(word), "\(word): \(errors)")
      }
      // Another answer to the same message; the best one is the same again.
      let again = try chat(fixture, ["Hi", "/again"]).answers
      #expect(again.count == 2 && again[0] == again[1])
      let drawn = try chat(fixture, ["Hi", "/again"], ["--temperature", "3", "--seed", "2"]).answers
      #expect(drawn.count == 2 && drawn[0] != drawn[1])
    }
  }

  @Test func wrongStartsAreNamed() throws {
    try CommandFixture.with { fixture in
      try fixture.expectFailure(
        64, naming: ["--num-beams"], ["chat", "--model", "model", "--num-beams", "2"])
      try fixture.expectFailure(
        66, naming: ["absent"], ["chat", "--model", "model", "--adapter", "absent"])
      try fixture.write("model/tokenizer_config.json", "{}")
      try fixture.expectFailure(64, naming: ["chat template"], ["chat", "--model", "model"])
    }
  }
}
