import Foundation
import JSONValues
import Testing
import Tokenizers

@Suite("Tokenizer directories")
struct TokenizerDirectoryTests {
  private func withDirectory(
    _ files: [String: String], _ body: (String) throws -> Void
  ) throws {
    let directory = FileManager.default.temporaryDirectory
      .appendingPathComponent("tokenizer-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    for (name, text) in files {
      try Data(text.utf8).write(to: directory.appendingPathComponent(name))
    }
    try body(directory.path)
  }

  private static let tokenizer = #"""
    {"added_tokens": [{"content": "<s>", "id": 2, "special": true},
                      {"content": "</s>", "id": 3, "special": true}],
     "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}
    """#

  @Test("Special tokens, limits and templates come from the files around tokenizer.json")
  func configuration() throws {
    let configuration = #"""
      {"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "pad_token": null,
       "model_max_length": 512, "chat_template": "from the configuration",
       "additional_special_tokens": ["<s>"]}
      """#
    let files = [
      "tokenizer.json": Self.tokenizer, "tokenizer_config.json": configuration,
      "special_tokens_map.json": #"{"eos_token": "<s>", "unk_token": "a"}"#,
    ]
    try withDirectory(files) { directory in
      let tokenizer = try Tokenizer(directory: directory)
      #expect(tokenizer.beginningOfTextID == 2)
      #expect(tokenizer.endOfTextID == 3)
      #expect(tokenizer.paddingID == nil)
      #expect(tokenizer.unknownID == 0)
      #expect(tokenizer.modelMaximumLength == 512)
      #expect(tokenizer.chatTemplateSource == "from the configuration")
      #expect(
        tokenizer.specialTokens.map(\.name)
          == ["bos_token", "eos_token", "unk_token", "additional_special_tokens"])
    }
  }

  @Test("Named templates come from a folder, and one of them is chosen")
  func namedTemplates() throws {
    let files = [
      "tokenizer.json": Self.tokenizer,
      "tokenizer_config.json": #"{"chat_template": [{"name": "rag", "template": "old"}]}"#,
    ]
    try withDirectory(files) { directory in
      let listed = try ChatTemplates(of: Tokenizer(directory: directory))
      #expect(listed.standard == nil && listed.names == ["rag"])
      #expect(listed.absence.contains("choose one of rag by --chat-template-name"))
      let folder = directory + "/additional_chat_templates"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      for (name, text) in [("tool_use.jinja", "tools"), ("a.jinja", "first"), ("notes.txt", "x")] {
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder + "/" + name))
      }
      try Data("usual".utf8).write(to: URL(fileURLWithPath: directory + "/chat_template.jinja"))
      let tokenizer = try Tokenizer(directory: directory)
      #expect(tokenizer.chatTemplateSources.map(\.name) == ["default", "a", "tool_use"])
      let chosen = try ChatTemplates(of: tokenizer)
      #expect(chosen.template(hasTools: false)?.source == "usual")
      #expect(chosen.template(hasTools: true)?.source == "tools")
      let first = try ChatTemplates(of: tokenizer, name: "a")
      #expect(first.template(hasTools: true)?.source == "first")
      let own = try ChatTemplates(of: tokenizer, replacement: "mine")
      #expect(own.template(hasTools: true)?.source == "mine")
      #expect(
        throws: ChatTemplateError.unknownTemplate(name: "b", known: ["default", "a", "tool_use"])
      ) {
        try ChatTemplates(of: tokenizer, name: "b")
      }
    }
  }

  @Test("chat_template.jinja wins, and a length of 10^30 is no limit")
  func templateFile() throws {
    let configuration = #"""
      {"model_max_length": 1000000000000000019884624838656,
       "chat_template": [{"name": "default", "template": "old"}, {"name": "tool", "template": "t"}]}
      """#
    let files = [
      "tokenizer.json": Self.tokenizer, "tokenizer_config.json": configuration,
      "chat_template.jinja": "from the file",
    ]
    try withDirectory(files) { directory in
      let tokenizer = try Tokenizer(directory: directory)
      #expect(tokenizer.modelMaximumLength == nil)
      #expect(tokenizer.chatTemplateSource == "from the file")
      #expect(tokenizer.chatTemplateSources.map(\.name) == ["default"])
    }
  }

  @Test("A missing or broken file is named")
  func errors() throws {
    try withDirectory([:]) { directory in
      #expect(throws: TokenizerError.missingFile(path: directory + "/tokenizer.json")) {
        try Tokenizer(directory: directory)
      }
    }
    try withDirectory(["tokenizer.json": "{"]) { directory in
      #expect {
        try Tokenizer(directory: directory)
      } throws: { error in
        "\(error)".contains(directory + "/tokenizer.json")
      }
    }
  }

  @Test("Documents of lines are encoded and decoded")
  func documents() throws {
    let tokenizer = try Tokenizer(tokenizerJSON: try JSON.parse(Self.tokenizer))
    let document = TokenizationDocument(tokenizer)
    let lines = Data("ab\r\n\n<s>a\nb".utf8)
    #expect(document.encodings(ofLines: lines) == [[0, 1], [], [2, 0], [1]])
    #expect(document.encoding(of: "a</s>") == ["ids": [0, 3], "tokens": ["a", "</s>"]])
    #expect(try document.texts(of: Data("0 1\n\n2".utf8)) == ["a b", "", "<s>"])
    #expect(try document.texts(of: Data(#"{"ids": [[0], [1, 0]]}"#.utf8)) == ["a", "b a"])
    #expect(try document.texts(of: Data(#"{"ids": [1]}"#.utf8)) == ["b"])
    #expect(throws: TokenizerError.self) { try document.texts(of: Data("0 x".utf8)) }
    #expect(throws: TokenizerError.self) { try document.texts(of: Data("{\"ids\": 3}".utf8)) }
  }
}
