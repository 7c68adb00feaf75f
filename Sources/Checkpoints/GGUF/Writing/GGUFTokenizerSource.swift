import Foundation
import JSONValues

/// The files of a tokenizer, for ``GGUFTokenizerMetadata``.
struct GGUFTokenizerSource {
  /// A part of a sequence of components.
  struct Step {
    let type: String
    let json: JSON
  }

  /// `tokenizer.json`.
  let path: String
  let json: JSON
  let model: JSON
  private let directory: String
  private let configuration: JSON
  private let specialTokensMap: JSON

  init(directory: String) throws {
    self.directory = directory
    path = directory + "/tokenizer.json"
    func optional(_ name: String) throws -> JSON {
      let path = "\(directory)/\(name)"
      return FileManager.default.fileExists(atPath: path) ? try JSON.read(path: path) : .null
    }
    guard FileManager.default.fileExists(atPath: path) else {
      throw CheckpointError.lacks(
        path: directory, what: "tokenizer.json, which a GGUF file needs for its vocabulary")
    }
    json = try JSON.read(path: path)
    model = json["model"] ?? .null
    configuration = try optional("tokenizer_config.json")
    specialTokensMap = try optional("special_tokens_map.json")
    let type = model["type"]?.stringValue ?? "BPE"
    guard type == "BPE", model.objectValue != nil else {
      throw unsupported("a tokenizer of model \(quoted(type)) in a GGUF file", ["BPE"])
    }
  }

  func unsupported(_ what: String, _ supported: [String]) -> CheckpointError {
    .unsupported(path: path, what: what, supported: supported)
  }

  /// A component as the list of its parts; empty where there is none.
  func steps(of key: String) -> [Step] { Self.steps(json[key] ?? .null) }

  private static func steps(_ json: JSON) -> [Step] {
    guard let type = json["type"]?.stringValue else { return [] }
    guard type == "Sequence" else { return [Step(type: type, json: json)] }
    let names = ["normalizers", "pretokenizers", "processors", "decoders"]
    return names.compactMap { json[$0]?.arrayValue }.flatMap { $0.flatMap(steps) }
  }

  var unknownToken: String? { model["unk_token"]?.stringValue }

  /// What the files call a special token, such as `bos_token`.
  func specialToken(_ name: String) -> String? {
    for file in [configuration, specialTokensMap] {
      if let text = file[name]?.stringValue ?? file[name]?["content"]?.stringValue { return text }
    }
    return nil
  }

  /// The list of merges, in either spelling.
  func merges() throws(CheckpointError) -> [(left: String, right: String)] {
    guard let list = model["merges"]?.arrayValue else {
      throw .lacks(path: path, what: "model.merges, a list")
    }
    var merges: [(left: String, right: String)] = []
    merges.reserveCapacity(list.count)
    for (index, item) in list.enumerated() {
      let parts =
        item.arrayValue?.compactMap(\.stringValue)
        ?? item.stringValue?.split(separator: " ", omittingEmptySubsequences: false).map(
          String.init)
      guard let parts, parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else {
        throw .mismatch(
          path: path, what: "model.merges[\(index)]", expected: "two parts",
          actual: item.serialized())
      }
      merges.append((parts[0], parts[1]))
    }
    return merges
  }

  /// Refuses settings of the model that GGUF files cannot say.
  func checkPlainMerging(fallsBackToBytes: Bool) throws(CheckpointError) {
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let text = model[key]?.stringValue, !text.isEmpty {
        throw unsupported("model.\(key) \(quoted(text)) in a GGUF file", ["none"])
      }
    }
    guard model["byte_fallback"]?.boolValue ?? false == fallsBackToBytes else {
      throw unsupported(
        "model.byte_fallback \(!fallsBackToBytes) in a GGUF file", ["\(fallsBackToBytes)"])
    }
  }

  /// Whether a SentencePiece tokenizer puts a space before a text.
  func addsSpacePrefix() throws(CheckpointError) -> Bool {
    try checkPlainMerging(fallsBackToBytes: true)
    let space = "\u{2581}"
    var prepends: Bool?
    var replaces = false
    for step in steps(of: "normalizer") {
      if step.type == "Prepend", step.json["prepend"]?.stringValue == space, !replaces {
        prepends = true
      } else if step.type == "Replace", step.json["pattern"]?["String"]?.stringValue == " ",
        step.json["content"]?.stringValue == space
      {
        replaces = true
      } else {
        throw splitting(step)
      }
    }
    for step in steps(of: "pre_tokenizer") {
      switch step.type {
      case "Metaspace" where step.json["replacement"]?.stringValue == space && !replaces:
        guard step.json["split"]?.boolValue == false else { throw splitting(step) }
        let scheme = step.json["prepend_scheme"]?.stringValue ?? "always"
        prepends = scheme != "never"
        replaces = true
      // After spaces were replaced there is none to split at.
      case "Split" where step.json["pattern"]?["String"]?.stringValue == " " && replaces: break
      default: throw splitting(step)
      }
    }
    guard replaces else {
      throw unsupported(
        "a BPE that neither works on bytes nor writes spaces as U+2581",
        ["byte-level, SentencePiece"])
    }
    return prepends ?? false
  }

  private func splitting(_ step: Step) -> CheckpointError {
    unsupported(
      "\(quoted(step.json.serialized(), limit: 200)) of a SentencePiece tokenizer in a GGUF file",
      ["U+2581 for spaces, with or without one before the text"])
  }

  /// Which special tokens the post-processor puts around a text.
  func surroundings(
    _ special: GGUFSpecialIDs, _ vocabulary: GGUFVocabulary
  ) throws(CheckpointError) -> (begins: Bool, ends: Bool) {
    var result = (begins: false, ends: false)
    for step in steps(of: "post_processor") where step.type != "ByteLevel" {
      guard step.type == "TemplateProcessing", let pieces = step.json["single"]?.arrayValue else {
        throw unsupported(
          "post-processor \(quoted(step.type)) in a GGUF file", ["TemplateProcessing", "ByteLevel"])
      }
      var isBehind = false
      for piece in pieces {
        if piece["Sequence"] != nil {
          isBehind = true
          continue
        }
        let token = piece["SpecialToken"]?["id"]?.stringValue ?? ""
        let ids = step.json["special_tokens"]?[token]?["ids"]?.arrayValue?.compactMap(\.intValue)
        let id = ids?.first ?? vocabulary.id(of: token)
        let known = isBehind ? special.end : special.begin
        guard let id, id == known, ids?.count ?? 1 == 1,
          isBehind ? !result.ends : !result.begins
        else {
          throw unsupported(
            "the token \(quoted(token)) that the post-processor puts \(isBehind ? "behind" : "before")"
              + " a text",
            [isBehind ? "eos_token, once" : "bos_token, once"])
        }
        if isBehind { result.ends = true } else { result.begins = true }
      }
    }
    return result
  }

  /// The chat templates under their keys; `chat_template.jinja` wins over the configuration's.
  func chatTemplates() throws -> [(key: String, value: GGUFValue)] {
    let file = directory + "/chat_template.jinja"
    if FileManager.default.fileExists(atPath: file) {
      guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
        throw CheckpointError.unreadable(path: file, reason: "it is not text in UTF-8")
      }
      return [("tokenizer.chat_template", .string(text))]
    }
    guard let found = configuration["chat_template"], !found.isNull else { return [] }
    if let text = found.stringValue { return [("tokenizer.chat_template", .string(text))] }
    var entries: [(key: String, value: GGUFValue)] = []
    var names: [GGUFValue] = []
    for item in found.arrayValue ?? [] {
      guard let name = item["name"]?.stringValue, let text = item["template"]?.stringValue else {
        throw CheckpointError.mismatch(
          path: directory + "/tokenizer_config.json", what: "chat_template",
          expected: "a text, or a list of objects with name and template",
          actual: item.serialized())
      }
      if name == "default" {
        entries.append(("tokenizer.chat_template", .string(text)))
      } else {
        names.append(.string(name))
        entries.append(("tokenizer.chat_template.\(name)", .string(text)))
      }
    }
    if !names.isEmpty { entries.append(("tokenizer.chat_templates", .array(names))) }
    return entries
  }
}
