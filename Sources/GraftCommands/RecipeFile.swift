import CYAML
import Checkpoints
import CommandLineParsing
import Foundation
import JSONValues

/// A recipe that cannot be read as one.
struct RecipeError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// A recipe: long option names and their values, as YAML or JSON.
enum RecipeFile {
  /// Reads a recipe.
  ///
  /// A list becomes its elements joined by commas, null leaves an option alone.
  static func read(_ path: String) throws -> [(name: String, value: String)] {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw CheckpointError.missing(path: path)
    }
    guard !isDirectory.boolValue, let data = FileManager.default.contents(atPath: path) else {
      throw CheckpointError.unreadable(path: path, reason: "it is not a file that can be read")
    }
    if path.hasSuffix(".json") {
      let parsed = try JSON.parse(data, file: path, rejectDuplicateKeys: true)
      guard let object = parsed.objectValue else {
        throw RecipeError("\(path): a recipe is an object of options")
      }
      return try object.compactMap { key, value in
        try text(of: value, key: key, path: path).map { (key, $0) }
      }
    }
    return try yaml(Array(data), path: path)
  }

  /// YAML's spellings of truth that are not also names.
  private static let flags = ["true": "true", "yes": "true", "false": "false", "no": "false"]

  private static func text(of value: JSON, key: String, path: String) throws -> String? {
    switch value {
    case .null: return nil
    case .bool(let flag): return flag ? "true" : "false"
    case .integer(let number): return String(number)
    case .number: return value.serialized()
    case .string(let text): return text
    case .array(let items):
      return try items.compactMap { try text(of: $0, key: key, path: path) }
        .joined(separator: ",")
    case .object: throw RecipeError("\(path): \(key) has options inside it; recipes are flat")
    }
  }

  /// One flat mapping of scalars and lists of scalars, by libyaml's events.
  private static func yaml(_ bytes: [UInt8], path: String) throws -> [(name: String, value: String)]
  {
    var parser = yaml_parser_t()
    guard yaml_parser_initialize(&parser) == 1 else { throw RecipeError("\(path): out of memory") }
    defer { yaml_parser_delete(&parser) }
    return try bytes.withUnsafeBufferPointer { buffer in
      yaml_parser_set_input_string(&parser, buffer.baseAddress, buffer.count)
      var result: [(name: String, value: String)] = []
      var names: Set<String> = []
      var key: String?
      var items: [String]?
      var depth = 0
      while true {
        var event = yaml_event_t()
        guard yaml_parser_parse(&parser, &event) == 1 else {
          let problem = parser.problem.map { String(cString: $0) } ?? "not YAML"
          throw RecipeError("\(path), line \(parser.problem_mark.line + 1): \(problem)")
        }
        defer { yaml_event_delete(&event) }
        let line = event.start_mark.line + 1
        switch event.type {
        case YAML_STREAM_END_EVENT: return result
        case YAML_MAPPING_START_EVENT:
          depth += 1
          if depth > 1 { throw RecipeError("\(path), line \(line): recipes are flat") }
        case YAML_SEQUENCE_START_EVENT:
          guard depth == 1, key != nil, items == nil else {
            throw RecipeError("\(path), line \(line): expected the name of an option")
          }
          items = []
        case YAML_SEQUENCE_END_EVENT:
          if let name = key, let list = items {
            result.append((name, list.joined(separator: ",")))
          }
          (key, items) = (nil, nil)
        case YAML_SCALAR_EVENT:
          let scalar = event.data.scalar
          let text = String(
            decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length),
            as: UTF8.self)
          let isPlain = scalar.style == YAML_PLAIN_SCALAR_STYLE
          guard depth == 1 else {
            throw RecipeError("\(path), line \(line): a recipe is a list of \"option: value\"")
          }
          if items != nil {
            items?.append(text)
          } else if let name = key {
            // A plain null leaves the option alone.
            if !(isPlain && ["", "~", "null", "Null", "NULL"].contains(text)) {
              result.append((name, isPlain ? Self.flags[text.lowercased()] ?? text : text))
            }
            key = nil
          } else if !names.insert(text).inserted {
            throw RecipeError("\(path), line \(line): \(text) stands there twice")
          } else {
            key = text
          }
        case YAML_ALIAS_EVENT:
          throw RecipeError("\(path), line \(line): aliases are not supported")
        default: break
        }
      }
    }
  }
}
