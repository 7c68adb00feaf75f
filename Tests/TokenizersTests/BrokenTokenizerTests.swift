import Foundation
import JSONValues
import TestSupport
import Testing
import Tokenizers

/// Tokenizer directories and chat templates that are changed at random are used or refused; what crashes
/// ends the whole test run.
@Suite struct BrokenTokenizerTests {
  private static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Fixtures").path

  /// Files of the tokenizer directory; members of `tokenizer_config.json` as checkpoints have them.
  private static func configuration(_ template: String) -> JSON {
    [
      "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>",
      "eos_token": ["content": "</s>", "special": true], "pad_token": nil,
      "additional_special_tokens": ["<a>", ["content": "<b>"]],
      "extra_special_tokens": ["image_token": "<image>"], "model_max_length": 2048,
      "add_bos_token": true, "clean_up_tokenization_spaces": false,
      "added_tokens_decoder": ["0": ["content": "<s>", "special": true]],
      "chat_template": [
        ["name": "default", "template": .string(template)], ["name": "tool_use", "template": "x"],
      ],
    ]
  }

  private static let messages: [JSON] = [
    ["role": "system", "content": "S"], ["role": "user", "content": "Hi <b>"],
    [
      "role": "assistant", "content": "Ho",
      "tool_calls": [["function": ["name": "f", "arguments": ["a": 1]]]],
    ],
    ["role": "user", "content": [["type": "text", "text": "x"]]],
  ]

  @Test func directoriesChangedAtRandom() throws {
    var random = Mutations(seed: 31)
    let names = ["llama2", "qwen2", "words", "affixes"]
    let tokenizers = try names.map {
      try #require(try JSON.read(path: "\(Self.fixtures)/byte-pair/\($0).json")["tokenizer"])
    }
    let good = Self.configuration("{% for m in messages %}{{ m['role'] + bos_token }}{% endfor %}")
    var refused = 0
    let rounds = 300 * Mutations.factor
    try withTemporaryDirectory { directory in
      func put(_ name: String, _ data: Data) throws {
        try data.write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
      }
      for round in 0..<rounds {
        let json = tokenizers[round % tokenizers.count]
        let changesTokenizer = round % 2 == 0
        try put(
          "tokenizer.json",
          changesTokenizer ? random.changedFile(json) : Data(json.serialized().utf8))
        try put("tokenizer_config.json", random.changedFile(good))
        try put("special_tokens_map.json", random.changedFile(["unk_token": ["content": "<unk>"]]))
        let start = ContinuousClock.now
        do {
          let tokenizer = try Tokenizer(directory: directory)
          for text in ["", "Hello  w\u{F6}rld <s> 12", "\u{0}\u{10FFFF}"] {
            _ = tokenizer.decode(tokenizer.encode(text), skipSpecialTokens: true)
          }
          for (_, source) in tokenizer.chatTemplateSources {
            _ = try ChatTemplate(source: source).render(
              messages: Self.messages,
              specialTokens: tokenizer.specialTokens.map { ($0.name, $0.token) })
          }
        } catch {
          refused += 1
          #expect(!"\(error)".isEmpty && "\(error)".utf8.count < 4000)
          if error is TokenizerError || error is JSONError {
            #expect("\(error)".contains(directory), "\(error)")
          }
        }
        #expect(ContinuousClock.now - start < .seconds(10))
      }
    }
    #expect(refused > 0 && refused < rounds)
  }

  /// What templates are made of, and what asks for much.
  private static let pieces = [
    "{% for m in messages %}", "{% endfor %}", "{{ messages }}", "{% if true %}", "{% endif %}",
    "{% set x = x ~ x %}", "{{ 'a' * 1000000000000 }}", "{{ range(1000000000) | list }}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", "{{ 9 ** 99999 }}", "{{ 1 // 0 }}",
    "{{ -9223372036854775807 - 2 }}", "{{ 9223372036854775807 * 3 }}", "{{ messages[-99] }}",
    "{{ messages[::0] }}", "{{ 'x'.center(1000000000) }}", "{{ '%999999999d' % 1 }}", "{#", "#}",
    "{%- raw %}", "{% endraw -%}", "{{ '{:999999999}'.format(1) }}", "{{ [1] * 99999999999 }}",
    "{{ messages | tojson(indent=999999999) }}", "{{ 'é'[0:9999999999] }}", "|", "((((((((((", "[",
    "{% set ns = namespace(a=1) %}", "{% set ns.a = ns.a + 9223372036854775807 %}", "\u{0}",
    "{{ (1).x.y }}", "{{ 'a' | indent(99999999999) }}", "{{ 1e308 * 10 }}",
    "{{ (1e308 * 10) | int }}",
    "{{ 'a,b' .split(',', -9223372036854775808) }}", "{{ 5 % -9223372036854775808 }}",
    "{{ -9223372036854775807 // -1 }}", "{{ 7.5 | round(-999999999) }}", "{{ 'ab' | batch(0) }}",
  ]

  @Test func templatesChangedAtRandom() throws {
    var random = Mutations(seed: 41)
    let json = try JSON.read(path: Self.fixtures + "/chat_templates.json")
    let sources = (json["templates"]?.arrayValue ?? []).compactMap(\.stringValue)
    #expect(sources.count > 20)
    var refused = 0
    let rounds = 300 * Mutations.factor
    for round in 0..<rounds {
      let source = random.changed(sources[round % sources.count], pieces: Self.pieces)
      let start = ContinuousClock.now
      do {
        let template = try ChatTemplate(source: source)
        let text = try template.render(
          messages: Self.messages, tools: [["type": "function", "function": ["name": "f"]]],
          addGenerationPrompt: true, specialTokens: [("bos_token", "<s>"), ("eos_token", "</s>")])
        #expect(text.utf8.count < 1 << 28)
      } catch {
        refused += 1
        #expect(!error.description.isEmpty && error.description.utf8.count < 4000)
      }
      #expect(ContinuousClock.now - start < .seconds(10), "\(source)")
    }
    #expect(refused > 0 && refused < rounds)
  }

  /// Each of them alone, too.
  @Test func piecesAlone() {
    for piece in Self.pieces {
      let start = ContinuousClock.now
      _ = try? ChatTemplate(source: piece).render(messages: Self.messages)
      #expect(ContinuousClock.now - start < .seconds(10), "\(piece)")
    }
  }
}
