import Checkpoints
import CommandLineParsing
import Foundation
import JSONValues
import Tokenizers

/// `graft tokenize`.
enum TokenizeCommand: Verb {
  static let model = Option<String>("model", default: nil, help: "Directory with tokenizer.json.")
  static let text = Option<String>("text", default: nil, help: "Text, or ids with --decode.")
  static let file = Option<String>(
    "file", default: nil, help: "File, one text or row of ids a line.")
  static let decode = Flag("decode", help: "Turn ids into text.")
  static let special = Flag(
    "special-tokens", default: true, help: "Add the post-processor's tokens.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "tokenize", summary: "Turn text into token ids and back",
    options: [model, text, file, decode, special, json])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    let tokenizer = try Tokenizer(directory: try arguments.value(model))
    let lines: [[UInt8]]
    switch (arguments[text], arguments[file]) {
    case (let text?, nil): lines = [Array(text.utf8)]
    case (nil, let path?):
      guard let data = FileManager.default.contents(atPath: path) else {
        throw CheckpointError.missing(path: path)
      }
      var parts = data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      if parts.last?.isEmpty ?? false { parts.removeLast() }
      lines = parts.map(Array.init)
    default: throw UsageError("give one of --text and --file")
    }
    if arguments[decode] {
      let texts = try lines.map { tokenizer.decode(try ids(in: $0)) }
      if arguments[json] {
        console.write(["texts": .array(texts.map(JSON.string))])
      } else {
        for text in texts { console.write(text + "\n") }
      }
      return .done
    }
    let encoded = lines.map { tokenizer.encode(utf8: $0, addSpecialTokens: arguments[special]) }
    if !arguments[json] {
      for ids in encoded { console.write(ids.map(String.init).joined(separator: " ") + "\n") }
    } else if arguments[file] != nil {
      console.write(["ids": .array(encoded.map { .array($0.map(JSON.integer)) })])
    } else {
      console.write([
        "ids": .array(encoded[0].map(JSON.integer)),
        "tokens": .array(encoded[0].map { .string(tokenizer.token(for: $0) ?? "") }),
      ])
    }
    return .done
  }

  /// Ids separated by white space or commas, also as a JSON list.
  private static func ids(in line: [UInt8]) throws -> [Int] {
    try String(decoding: line, as: UTF8.self)
      .split { " ,[]\t\r".contains($0) }
      .map { word in
        guard let id = Int(word) else { throw UsageError("'\(word)' is not a token id") }
        return id
      }
  }
}
