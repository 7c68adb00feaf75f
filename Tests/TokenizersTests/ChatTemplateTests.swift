import Foundation
import JSONValues
import Testing
import Tokenizers

@Suite struct ChatTemplateTests {
  private let conversation: [JSON] = [
    ["role": "user", "content": "Hi"], ["role": "assistant", "content": "H\u{E9}"],
    ["role": "user", "content": "Bye"], ["role": "assistant", "content": "Ciao"],
  ]

  private let turns = """
    {% for m in messages %}<{{ m.role }}>{{ m.content }}</>
    {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}
    """

  private func slices(_ chat: RenderedChat) -> [String] {
    let bytes = Array(chat.text.utf8)
    return chat.assistantSpans.map { String(decoding: bytes[$0], as: UTF8.self) }
  }

  // MARK: Errors

  @Test(arguments: [
    ("{{ 1 }}\n{{ }}", 2), ("a\n\n{% if x %}", 3), ("{{ 'a\n' }}\n{% nope %}", 3),
    ("{# a\nb #}\n{{ x | }}", 3), ("\n{{ x | nope }}", 2), ("{%- set a = 1 -%}\n\n{{ (1 }}", 3),
    ("\r\n\r{{ 1 2 }}", 3), ("x\n{# open", 2), ("x\n{% raw %}", 2),
  ])
  func `a syntax error names its line`(source: String, line: Int) {
    do {
      _ = try ChatTemplate(source: source)
      Issue.record("no error")
    } catch {
      guard case .syntax(line, _) = error else {
        Issue.record("\(error)")
        return
      }
    }
  }

  @Test func `a failure while rendering names its line`() throws {
    let template = try ChatTemplate(source: "a\nb\n{% if true %}\n{{ x.y }}\n{% endif %}")
    #expect(throws: ChatTemplateError.runtime(line: 4, message: "'x' is undefined")) {
      try template.render(messages: conversation)
    }
  }

  @Test func `a template may refuse the conversation`() throws {
    let template = try ChatTemplate(source: "\n{{ raise_exception('only ' ~ 1) }}")
    #expect(throws: ChatTemplateError.raised(line: 2, message: "only 1")) {
      try template.render(messages: conversation)
    }
  }

  @Test func `conversations and variables are checked`() throws {
    let template = try ChatTemplate(source: "x")
    #expect(throws: ChatTemplateError.self) { try template.render(messages: []) }
    #expect(throws: ChatTemplateError.self) { try template.render(messages: ["text"]) }
    #expect(throws: ChatTemplateError.reservedVariable("tools")) {
      try template.render(messages: conversation, variables: JSONObject([("tools", .null)]))
    }
  }

  @Test func `every error has a description that says more than its name`() {
    let errors: [ChatTemplateError] = [
      .syntax(line: 1, message: "m"), .runtime(line: 2, message: "m"),
      .raised(line: 3, message: "m"), .limitExceeded(line: 4, limit: "l"),
      .invalidMessages("m"), .reservedVariable("v"),
      .unclearAssistantSpans(messageIndex: 5, reason: "r"),
    ]
    for error in errors {
      #expect(error.description.count > 20)
    }
  }

  // MARK: Variables

  @Test func `a variable wins over a special token and over a function`() throws {
    let template = try ChatTemplate(source: "{{ bos_token }}{{ strftime_now }}{{ eos_token }}")
    let text = try template.render(
      messages: conversation, specialTokens: [("bos_token", "<s>"), ("eos_token", "</s>")],
      variables: JSONObject([("bos_token", "B"), ("strftime_now", 5)]))
    #expect(text == "B5</s>")
  }

  @Test func `texts that look alike but differ in code points stay different`() throws {
    let template = try ChatTemplate(
      source: "{{ a == b }} {{ a in {b: 1} }} {{ a | length }}{{ b | length }} "
        + "{{ a | replace(b, 'x') }}")
    let text = try template.render(
      messages: conversation, variables: JSONObject([("a", "\u{E9}"), ("b", "e\u{301}")]))
    #expect(Array(text.utf8) == Array("False False 12 \u{E9}".utf8))
  }

  @Test func `rendering twice gives the same text`() throws {
    let template = try ChatTemplate(
      source: "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
        + "{% endfor %}{{ ns.n }}")
    #expect(try template.render(messages: conversation) == "4")
    #expect(try template.render(messages: conversation) == "4")
  }

  // MARK: Limits

  @Test(arguments: [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) if a %}{{ b }}{% endfor %}{% endfor %}",
    "{{ 'x' * 10000000000 }}", "{{ 'x' * 9223372036854775807 }}", "{{ [0] * 10000000000 }}",
    "{{ '%1000000000d' | format(1) }}", "{{ '{:1000000000}'.format(1) }}",
    "{{ 'a'.ljust(10000000000) }}", "{{ 'a' | center(10000000000) }}",
    "{{ 'a' | indent(10000000000) }}", "{{ ['a'] | tojson(indent=10000000000) }}",
    "{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}",
    "{{ ('b' * 1000000).join(('a' * 1000000) | list) }}",
    "{% set ns = namespace(x='x') %}{% for i in range(99) %}"
      + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}"
      + "{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}"
      + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}"
      + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}"
      + "{% set ns.x = [[[[ns.x]]]] %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}"
      + "{% set ns.x = [[[[ns.x]]]] %}{% endfor %}{{ ns.x | tojson }}",
    "{% set big = 'x' * 1000000 %}{% for i in range(99999) %}{{ big }}{% endfor %}",
    "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "{% macro f() %}{% for i in [1] %}{{ f() }}{% endfor %}{% endmacro %}{{ f() }}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% macro f() %}{{ [1] | map('default') | list }}{{ caller() }}{% endmacro %}"
      + "{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% endmacro %}{{ g() }}",
    "{% for i in range(99999) %}{{ range(99999) | list | length }}{% endfor %}",
    "{{ range(1000000) }}",
    "{{ ('a' * 1000).expandtabs(1) ~ ('\\t' * 1000000).expandtabs(1000000) }}",
  ])
  func `a template cannot take more than its share`(source: String) throws {
    var limits = Jinja.Limits()
    limits.work = 200_000
    limits.textBytes = 4 << 20
    let template = try ChatTemplate(source: source, limits: limits)
    do {
      let text = try template.render(messages: conversation)
      Issue.record("\(text.utf8.count) bytes")
    } catch {
      guard case .limitExceeded = error else {
        Issue.record("\(error)")
        return
      }
    }
  }

  @Test func `deep nesting in the source is an error, not a crash`() {
    let count = 20_000
    let sources = [
      String(repeating: "(", count: count), String(repeating: "[", count: count),
      "{{ " + String(repeating: "not ", count: count) + "1 }}",
      "{{ " + String(repeating: "-", count: count) + "1 }}",
      "{{ a" + String(repeating: ".a", count: count) + " }}",
      "{{ a" + String(repeating: "|e", count: count) + " }}",
      "{{ 1" + String(repeating: " + 1", count: count) + " }}",
      "{{ 1" + String(repeating: " if 1 else 1", count: count) + " }}",
      "{{ 1" + String(repeating: " is eq 1", count: count) + " }}",
      String(repeating: "{% if 1 %}", count: count),
      String(repeating: "{% for a in b %}", count: count),
      "{% set " + String(repeating: "(", count: count),
    ]
    for source in sources {
      let text = source.hasPrefix("{") ? source : "{{ " + source
      #expect(throws: ChatTemplateError.self) { try ChatTemplate(source: text) }
    }
  }

  @Test func `the deepest allowed program fits a small stack`() async throws {
    let depth = 75
    let nested =
      String(repeating: "{% if 1 %}", count: depth) + "{{ f() ~ "
      + String(repeating: "(1 + ", count: 35) + "1" + String(repeating: ")", count: 35)
      + " }}" + String(repeating: "{% endif %}", count: depth)
    let source = "{% macro f() %}\(nested){% endmacro %}{{ f() }}"
    let messages = conversation
    let failed = await withCheckedContinuation { continuation in
      let thread = Thread {
        do throws(ChatTemplateError) {
          _ = try ChatTemplate(source: source).render(messages: messages)
          continuation.resume(returning: false)
        } catch {
          guard case .limitExceeded = error else {
            continuation.resume(returning: false)
            return
          }
          continuation.resume(returning: true)
        }
      }
      thread.stackSize = 2048 << 10
      thread.start()
    }
    #expect(failed)
  }

  @Test func `chains of many short terms are fine`() throws {
    let source = "{{ " + (0..<100).map { "'\($0)'" }.joined(separator: " + ") + " }}"
    let text = try ChatTemplate(source: source).render(messages: conversation)
    #expect(text == (0..<100).map(String.init).joined())
  }

  // MARK: Spans

  @Test func `generation blocks give the spans in bytes`() throws {
    let template = try ChatTemplate(
      source: "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}"
        + "{% generation %}{{ m.content }}!{% endgeneration %}{% else %}{{ m.content }}{% endif %} "
        + "{% endfor %}")
    #expect(template.hasGenerationBlocks)
    let chat = try template.renderWithAssistantSpans(messages: conversation)
    #expect(chat.text == "user: Hi assistant: H\u{E9}! user: Bye assistant: Ciao! ")
    #expect(slices(chat) == ["H\u{E9}!", "Ciao!"])
    #expect(try template.render(messages: conversation) == chat.text)
  }

  @Test func `a generation block without a place in the page is refused`() throws {
    let template = try ChatTemplate(
      source: "{% macro f() %}{% generation %}x{% endgeneration %}{% endmacro %}{{ f() | upper }}")
    #expect(try template.render(messages: conversation) == "X")
    #expect(throws: ChatTemplateError.self) {
      try template.renderWithAssistantSpans(messages: conversation)
    }
  }

  @Test func `without blocks the spans come from prefixes`() throws {
    let template = try ChatTemplate(source: turns)
    #expect(!template.hasGenerationBlocks)
    #expect(try template.renderWithAssistantSpans(messages: conversation).assistantSpans.isEmpty)
    let chat = try template.assistantSpans(messages: conversation)
    #expect(slices(chat) == ["H\u{E9}</>\n", "Ciao</>\n"])
    #expect(chat.text == (try template.render(messages: conversation)))
  }

  @Test func `a conversation that begins with the assistant has spans as well`() throws {
    let chat = try ChatTemplate(source: turns).assistantSpans(
      messages: [["role": "assistant", "content": "A"], ["role": "user", "content": "B"]])
    #expect(slices(chat) == ["A</>\n"])
  }

  @Test func `a template that rewrites earlier turns is refused`() throws {
    let template = try ChatTemplate(
      source: "{% for m in messages %}<{{ m.role }}>"
        + "{{ m.content if loop.last else '...' }}{% endfor %}"
        + "{% if add_generation_prompt %}<assistant>{% endif %}")
    do {
      _ = try template.assistantSpans(messages: conversation)
      Issue.record("no error")
    } catch {
      guard case .unclearAssistantSpans(1, _) = error else {
        Issue.record("\(error)")
        return
      }
    }
  }

  @Test func `a turn that does not begin with the generation prompt is refused`() throws {
    let template = try ChatTemplate(
      source: "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        + "{% if add_generation_prompt %}<assistant><think>{% endif %}")
    #expect(throws: ChatTemplateError.self) {
      try template.assistantSpans(messages: conversation)
    }
  }

  @Test func `a template that needs the whole conversation is refused`() throws {
    let template = try ChatTemplate(
      source: "{% if messages | length < 3 %}{{ raise_exception('short') }}{% endif %}" + turns)
    do {
      _ = try template.assistantSpans(messages: conversation)
      Issue.record("no error")
    } catch {
      #expect("\(error)".contains("short"))
    }
  }
}
