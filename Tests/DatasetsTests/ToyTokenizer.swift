import Datasets
import Foundation
import JSONValues
import Tokenizers

/// A tokenizer whose ids can be read: printable ASCII and the newline are their own codes.
///
/// `ok` is one token, and so is `!?`; special tokens start at 200.
enum Toy {
  static let ok: Int32 = 150
  static let exclaimedQuestion: Int32 = 151
  static let padding: Int32 = 200
  static let begin: Int32 = 201
  static let end: Int32 = 202
  static let start: Int32 = 203

  /// Messages as SmolLM2 and others write them, without a system message of its own.
  static let chat =
    "{% for m in messages %}<im>{{ m['role'] }}\n{{ m['content'] }}</s>\n{% endfor %}"
    + "{% if add_generation_prompt %}<im>assistant\n{% endif %}"
  /// The same with marked answers.
  static let marked =
    "{% for m in messages %}<im>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    + "{% generation %}{{ m['content'] }}</s>\n{% endgeneration %}{% else %}{{ m['content'] }}"
    + "</s>\n{% endif %}{% endfor %}"

  static func tokenizer(
    begins: Bool = false, ends: Bool = false, metaspace: Bool = false, chat: String? = nil,
    templates: [(name: String, source: String)] = [], filler: String = "<pad>"
  ) throws -> Tokenizer {
    var vocabulary = JSONObject()
    for code in [10] + Array(32...126) {
      vocabulary[String(decoding: [UInt8(code)], as: UTF8.self)] = .integer(code)
    }
    vocabulary["ok"] = .integer(Int(ok))
    vocabulary["!?"] = .integer(Int(exclaimedQuestion))
    vocabulary["\u{2581}"] = 152
    let names = [("<pad>", padding), ("<s>", begin), ("</s>", end), ("<im>", start)]
    for (name, id) in names { vocabulary[name] = .integer(Int(id)) }
    let added = names.map { name, id -> JSON in
      ["id": .integer(Int(id)), "content": .string(name), "special": true, "normalized": false]
    }
    var single: [JSON] = [["Sequence": ["id": "A", "type_id": 0]]]
    if begins { single.insert(["SpecialToken": ["id": "<s>", "type_id": 0]], at: 0) }
    if ends { single.append(["SpecialToken": ["id": "</s>", "type_id": 0]]) }
    var document: JSONObject = JSONObject([
      ("added_tokens", .array(added)),
      (
        "model",
        ["type": "BPE", "vocab": .object(vocabulary), "merges": ["o k", "! ?"]]
      ),
      (
        "post_processor",
        [
          "type": "TemplateProcessing", "single": .array(single), "pair": [],
          "special_tokens": [
            "<s>": ["id": "<s>", "ids": [.integer(Int(begin))], "tokens": ["<s>"]],
            "</s>": ["id": "</s>", "ids": [.integer(Int(end))], "tokens": ["</s>"]],
          ],
        ]
      ),
    ])
    if metaspace {
      document["pre_tokenizer"] = [
        "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": true,
      ]
    }
    return try Tokenizer(
      tokenizerJSON: .object(document),
      configuration: [
        "bos_token": "<s>", "eos_token": "</s>", "pad_token": .string(filler),
        "chat_template": .array(
          templates.map { ["name": .string($0.name), "template": .string($0.source)] }),
      ],
      chatTemplate: chat)
  }

  /// The ids of ASCII text without merges.
  static func codes(_ text: String) -> [Int32] { text.utf8.map { Int32($0) } }

  static func ignored(_ count: Int) -> [Int32] {
    [Int32](repeating: ignoredLabelID, count: count)
  }
}

/// Records of JSONL text.
func records(
  _ text: String, family: RecordFormat.Family? = nil, allowsPromptOnly: Bool = false
) throws -> [LocatedRecord] {
  var reader = RecordReader(
    data: Data(text.utf8), family: family, allowsPromptOnly: allowsPromptOnly)
  return try reader.readAll()
}

/// An example of a length, its ids all the same.
func example(_ length: Int, id: Int32 = 7) -> TokenizedExample {
  let ids = [Int32](repeating: id, count: length)
  return TokenizedExample(ids: ids, labels: ids)
}
