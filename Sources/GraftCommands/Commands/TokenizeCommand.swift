import Checkpoints
import CommandLineParsing
import Foundation
import JSONValues
import Tokenizers

/// `graft tokenize`.
enum TokenizeCommand: Verb {
  static let model = Option<String>(
    "model", default: nil, help: "Directory with tokenizer.json, GGUF file or hub name.")
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
    let tokenizer = try Tokenizer(
      directory: try ModelSource.directory(of: try arguments.value(model)))
    let document = TokenizationDocument(tokenizer)
    let data: Data
    switch (arguments[text], arguments[file]) {
    case (let text?, nil): data = Data(text.utf8)
    case (nil, let path?):
      guard let found = FileManager.default.contents(atPath: path) else {
        throw CheckpointError.missing(path: path)
      }
      data = found
    default: throw UsageError("give one of --text and --file")
    }
    if arguments[decode] {
      let texts = try document.texts(of: data, file: arguments[file] ?? "--text")
      if arguments[json] {
        console.write(["texts": .array(texts.map(JSON.string))])
      } else {
        for text in texts { console.write(text + "\n") }
      }
      return .done
    }
    if let text = arguments[text] {
      let encoding = document.encoding(of: text, addSpecialTokens: arguments[special])
      console.write(arguments[json] ? encoding : encoding["ids"] ?? [])
      return .done
    }
    let rows = document.encodings(ofLines: data, addSpecialTokens: arguments[special])
    if arguments[json] {
      console.write(["ids": .array(rows.map { .array($0.map(JSON.integer)) })])
    } else {
      for ids in rows { console.write(ids.map(String.init).joined(separator: " ") + "\n") }
    }
    return .done
  }
}
