import CYAML
import Checkpoints
import Foundation
import JSONValues

/// Reads YAML files whose mappings and lists stand in each other, by libyaml's events.
///
/// Plain words are read as PyYAML reads them: yes, no, on and off are truth values, quoted ones are not.
struct YAMLText {
  private let path: String

  /// Reads a file.
  ///
  /// - Throws: `CheckpointError` when it cannot be read, ``RecipeError`` where it is no YAML, a key stands
  ///   there twice, or it has anchors.
  static func read(_ path: String) throws -> JSON {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw CheckpointError.missing(path: path)
    }
    guard !isDirectory.boolValue, let data = FileManager.default.contents(atPath: path) else {
      throw CheckpointError.unreadable(path: path, reason: "it is not a file that can be read")
    }
    return try YAMLText(path: path).parse(Array(data))
  }

  private func parse(_ bytes: [UInt8]) throws -> JSON {
    var parser = yaml_parser_t()
    guard yaml_parser_initialize(&parser) == 1 else { throw RecipeError("\(path): out of memory") }
    defer { yaml_parser_delete(&parser) }
    return try bytes.withUnsafeBufferPointer { buffer in
      yaml_parser_set_input_string(&parser, buffer.baseAddress, buffer.count)
      while true {
        switch try next(&parser) {
        case .other: continue
        case .end: return .null
        case let event: return try value(event, &parser, depth: 0)
        }
      }
    }
  }

  /// What a file is made of.
  private enum Event {
    case scalar(JSON, text: String, line: Int)
    case beginsMapping, endsMapping, beginsList, endsList
    case other, end
  }

  private func next(_ parser: inout yaml_parser_t) throws -> Event {
    var event = yaml_event_t()
    guard yaml_parser_parse(&parser, &event) == 1 else {
      let problem = parser.problem.map { String(cString: $0) } ?? "not YAML"
      throw RecipeError("\(path), line \(parser.problem_mark.line + 1): \(problem)")
    }
    defer { yaml_event_delete(&event) }
    let line = event.start_mark.line + 1
    switch event.type {
    case YAML_STREAM_END_EVENT: return .end
    case YAML_MAPPING_START_EVENT: return .beginsMapping
    case YAML_MAPPING_END_EVENT: return .endsMapping
    case YAML_SEQUENCE_START_EVENT: return .beginsList
    case YAML_SEQUENCE_END_EVENT: return .endsList
    case YAML_SCALAR_EVENT:
      let scalar = event.data.scalar
      let text = String(
        decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
      let isPlain = scalar.style == YAML_PLAIN_SCALAR_STYLE
      return .scalar(isPlain ? Self.plain(text) : .string(text), text: text, line: Int(line))
    case YAML_ALIAS_EVENT:
      throw RecipeError("\(path), line \(line): aliases are not supported")
    default: return .other
    }
  }

  private func value(_ event: Event, _ parser: inout yaml_parser_t, depth: Int) throws -> JSON {
    guard depth < 64 else { throw RecipeError("\(path): nested more than 64 deep") }
    switch event {
    case .scalar(let value, _, _): return value
    case .beginsList:
      var items: [JSON] = []
      while true {
        let event = try next(&parser)
        if case .endsList = event { return .array(items) }
        items.append(try value(event, &parser, depth: depth + 1))
      }
    case .beginsMapping:
      var object = JSONObject()
      while true {
        let event = try next(&parser)
        if case .endsMapping = event { return .object(object) }
        guard case .scalar(_, let key, let line) = event else {
          throw RecipeError("\(path): a key that is no text")
        }
        guard object[key] == nil else {
          throw RecipeError("\(path), line \(line): \(key) stands there twice")
        }
        object[key] = try value(next(&parser), &parser, depth: depth + 1)
      }
    case .endsMapping, .endsList, .other, .end:
      throw RecipeError("\(path): the text ends too early")
    }
  }

  /// The value of a plain word.
  private static func plain(_ text: String) -> JSON {
    switch text.lowercased() {
    case "", "~", "null": return .null
    case "true", "yes", "on": return .bool(true)
    case "false", "no", "off": return .bool(false)
    default: break
    }
    if let number = Int(text) { return .integer(number) }
    if let number = Double(text), number.isFinite, text.contains(where: \.isNumber) {
      return .number(number)
    }
    return .string(text)
  }
}
