import Foundation
import JSONValues
import TestSupport
import Testing

/// `graft data`.
@Suite struct DataCommandTests {
  private func json(_ fixture: CommandFixture, _ arguments: [String]) throws -> JSON {
    let result = try GraftProcess.run(arguments + ["--json"], directory: fixture.directory)
    #expect(result.code == 0, "\(result.errors)")
    return try JSON.parse(Data(result.output.utf8))
  }

  private let chats = """
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "bc"}]}
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "bc"}]}
    {"messages": [{"role": "user", "content": "nothing asked"}]}
    {"instruction": "a", "input": "", "output": "bc"}
    {"text": "ab", "id": 7}

    """

  @Test func `preview shows tokens beside labels and what is left out`() throws {
    try CommandFixture.with { fixture in
      try fixture.write("chats.jsonl", chats)
      let common = ["data", "preview", "--model", "model", "--data", "chats.jsonl"]
      let shown = try json(fixture, common + ["--rows", "9", "--prompt-style", "chat"])
      let rows = try #require(shown["rows"]?.arrayValue)
      #expect(rows.count == 5)
      #expect(rows[0]["tokens"] == rows[1]["tokens"] && rows[0]["tokens"] == rows[3]["tokens"])
      let labels = (rows[0]["tokens"]?.arrayValue ?? []).compactMap { $0["label"]?.intValue }
      // The tiny model's template ends turns with a token that is not its end of text.
      #expect(labels == [98, 99, 258, 10])
      #expect(rows[2]["kept"]?.boolValue == false)
      #expect(shown["dropped_lines"] == [3])
      #expect(shown["report"]?["examples"]?.intValue == 4)
      #expect(shown["report"]?["ignored_keys"] == ["id": 1])

      let text = try GraftProcess.run(common + ["--rows", "1"], directory: fixture.directory)
      #expect(text.code == 0)
      for part in [
        "chats.jsonl:1  messages: ", "       257         -  \"<|im_start|>\"",
        "        98        98  \"b\"", "chats.jsonl:3: left out",
        "4 examples", "1 with the key \"id\"",
      ] {
        #expect(text.output.contains(part), "\(part) is not in \(text.output)")
      }
    }
  }

  @Test func `preview shows what training counts`() throws {
    try CommandFixture.with { fixture in
      let options = ["--data", "rows.jsonl", "--max-length", "12"]
      let shown = try json(fixture, ["data", "preview", "--model", "model"] + options)
      let report = try #require(shown["report"])
      #expect(report["truncated"]?.intValue == shown["truncated_lines"]?.arrayValue?.count)
      #expect((report["truncated"]?.intValue ?? 0) > 0)
      let run = try fixture.train(["--max-length", "12"])
      let tokens = try #require(report["tokens"]?.intValue)
      let targets = try #require(report["targets"]?.intValue)
      #expect(run.errors.contains("\(tokens) tokens"), "\(run.errors)")
      #expect(run.errors.contains("\(targets) count towards the loss"))
    }
  }

  @Test func `training takes another chat template, as the preview does`() throws {
    try CommandFixture.with { fixture in
      try fixture.write("chats.jsonl", chats)
      try fixture.write(
        "words.jinja",
        "{% for m in messages %}{{ m.role }} {% generation %}{{ m.content }}{% endgeneration %}\n"
          + "{% endfor %}")
      let options = ["--data", "chats.jsonl", "--chat-template", "words.jinja"]
      let shown = try json(fixture, ["data", "preview", "--model", "model"] + options)
      // The template marks the words of everybody, and no end.
      #expect(shown["report"]?["endless"]?.intValue == 3)
      let run = try GraftProcess.run(
        [
          "train", "--model", "model", "--output", "run", "--max-steps", "1", "--batch-size", "2",
        ] + options, directory: fixture.directory)
      #expect(run.code == 0, "\(run.errors)")
      #expect(run.errors.contains("the model does not learn to stop, first"))
      let recipe = try JSON.parse(fixture.bytes("run/recipe.json"))
      #expect(recipe["chat-template"]?.stringValue == fixture.path("words.jinja"))
    }
  }

  @Test func `a named template is chosen, by the preview as by generate, evaluate and chat`() throws
  {
    try CommandFixture.with { fixture in
      let lines = chats.split(separator: "\n")
      try fixture.write("chats.jsonl", lines.prefix(3).joined(separator: "\n"))
      let templates: JSON = [
        "eos_token": "<|endoftext|>",
        "chat_template": [
          ["name": "short", "template": "{{ messages[-1].content }}:"],
          ["name": "tool_use", "template": "tools"],
        ],
      ]
      try fixture.write("model/tokenizer_config.json", templates.serialized())
      let named = ["--chat-template-name", "short"]
      let common = ["data", "render", "--model", "model", "--data", "chats.jsonl"]
      let rows = try json(fixture, common + named)["rows"]?.arrayValue ?? []
      #expect(rows.first?["text"]?.stringValue == "bc:")
      try fixture.write("words.jinja", "{{ messages[-1].content }}:")
      for choice in [named, ["--chat-template", "words.jinja"]] {
        let answer = try json(
          fixture,
          ["generate", "--model", "model", "--chat", "hm", "--max-new-tokens", "2"] + choice)
        let ids = try json(
          fixture, ["generate", "--model", "model", "--prompt", "hm:", "--max-new-tokens", "2"])
        #expect(answer["results"]?.arrayValue?[0]["ids"] == ids["results"]?.arrayValue?[0]["ids"])
        let figures = try json(
          fixture,
          [
            "evaluate", "--model", "model", "--data", "rows.jsonl", "--prompt-style", "chat",
            "--metrics", "exact-match", "--max-new-tokens", "2",
          ] + choice)
        #expect(figures["rows"]?.intValue == 16)
        let talk = try GraftProcess.run(
          ["chat", "--model", "model", "--max-new-tokens", "2"] + choice,
          directory: fixture.directory, input: "hm\n")
        #expect(talk.code == 0, "\(talk.errors)")
      }
      try fixture.expectFailure(
        65, naming: ["no chat template called 'shrot'", "short, tool_use"],
        common + ["--chat-template-name", "shrot"])
      try fixture.expectFailure(
        64, naming: ["--chat-template-name", "short, tool_use"], ["chat", "--model", "model"])
      try fixture.expectFailure(
        64, naming: ["one of --chat-template"], common + named + ["--chat-template", "words.jinja"])
      try fixture.expectFailure(
        66, naming: ["absent.jinja"],
        ["generate", "--model", "model", "--chat", "a", "--chat-template", "absent.jinja"])
      try fixture.expectFailure(
        64, naming: ["--prompt-style chat"],
        ["generate", "--model", "model", "--prompt", "a"] + named)
    }
  }

  @Test func `a model that is written anew keeps its named templates`() throws {
    try CommandFixture.with { fixture in
      let folder = fixture.path("model/additional_chat_templates")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try fixture.write("model/additional_chat_templates/last.jinja", "{{ messages[-1].content }}:")
      let written = try fixture.graft(
        "quantize", "--model", "model", "--format", "int8", "--output", "small")
      #expect(written.code == 0, "\(written.errors)")
      try fixture.write("chats.jsonl", String(chats.prefix { $0 != "\n" }))
      let rows = try json(
        fixture,
        [
          "data", "render", "--model", "small", "--data", "chats.jsonl", "--chat-template-name",
          "last",
        ])["rows"]?.arrayValue
      #expect(rows?.first?["text"]?.stringValue == "bc:")
    }
  }

  @Test func `the preview shows which messages count`() throws {
    try CommandFixture.with { fixture in
      try fixture.write(
        "chats.jsonl",
        #"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "bc", "weight": 0}, "#
          + #"{"role": "user", "content": "d"}, {"role": "assistant", "content": "e", "train": true}]}"#
      )
      let words = ["data", "preview", "--model", "model", "--data", "chats.jsonl"]
      let tokens = try json(fixture, words)["rows"]?.arrayValue?[0]["tokens"]?.arrayValue ?? []
      let targets = tokens.filter { $0["role"] == "target" }.compactMap { $0["text"]?.stringValue }
      #expect(targets.joined().hasPrefix("e<|im_end|>") && !targets.contains("b"), "\(targets)")
      try fixture.write(
        "wrong.jsonl", #"{"messages": [{"role": "assistant", "content": "a", "train": 1}]}"#)
      try fixture.expectFailure(
        65, naming: ["wrong.jsonl:1", "messages[0].train", "true or false"],
        ["data", "preview", "--model", "model", "--data", "wrong.jsonl"])
    }
  }

  @Test func `render writes conversations by the template`() throws {
    try CommandFixture.with { fixture in
      let lines = chats.split(separator: "\n")
      try fixture.write("chats.jsonl", lines.prefix(3).joined(separator: "\n"))
      let common = ["data", "render", "--model", "model", "--data", "chats.jsonl"]
      let rows = try #require(try json(fixture, common)["rows"]?.arrayValue)
      let text = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nbc<|im_end|>\n"
      #expect(rows[0]["text"]?.stringValue == text && rows[1]["text"]?.stringValue == text)
      let ids = (rows[0]["ids"]?.arrayValue ?? []).compactMap(\.intValue)
      let mask = (rows[0]["assistant_mask"]?.arrayValue ?? []).compactMap(\.intValue)
      #expect(zip(ids, mask).filter { $0.1 == 1 }.map(\.0) == [98, 99, 258, 10])
      let prompted = try json(fixture, common + ["--generation-prompt"])
      #expect(
        prompted["rows"]?.arrayValue?[0]["text"]?.stringValue == text + "<|im_start|>assistant\n")

      try fixture.write("strict.jinja", "{{ messages[1].content.strip() }}")
      let strict = try GraftProcess.run(
        common + ["--chat-template", "strict.jinja", "--json"], directory: fixture.directory)
      #expect(strict.code == 65)
      #expect(strict.errors.contains("chats.jsonl:3: the chat template failed in line 1"))
      let kept = try JSON.parse(Data(strict.output.utf8))["rows"]?.arrayValue ?? []
      #expect(kept.count == 3 && kept[0]["text"] == "bc" && kept[2]["error"] != nil)
    }
  }

  @Test func `what cannot be is refused`() throws {
    try CommandFixture.with { fixture in
      try fixture.write("bad.jsonl", "{\"text\": \"a\"}\n{\"txt\": 1}\n")
      let common = ["--model", "model", "--data", "rows.jsonl"]
      try fixture.expectFailure(
        64, naming: ["preveiw", "did you mean preview?"], ["data", "preveiw"] + common)
      try fixture.expectFailure(64, naming: ["missing argument ACTION"], ["data"] + common)
      try fixture.expectFailure(
        64, naming: ["--generation-prompt"], ["data", "preview", "--generation-prompt"] + common)
      try fixture.expectFailure(
        64, naming: ["--max-length 999", "128"],
        ["data", "preview", "--max-length", "999"] + common)
      try fixture.expectFailure(64, naming: ["--data"], ["data", "preview", "--model", "model"])
      try fixture.expectFailure(
        66, naming: ["none.jsonl"],
        ["data", "preview", "--model", "model", "--data", "none.jsonl"])
      try fixture.expectFailure(
        66, naming: ["none.jinja"], ["data", "preview", "--chat-template", "none.jinja"] + common)
      try fixture.expectFailure(
        65, naming: ["bad.jsonl:2", "text"],
        ["data", "preview", "--model", "model", "--data", "bad.jsonl"])
    }
  }
}
