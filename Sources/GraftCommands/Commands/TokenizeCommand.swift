import Checkpoints
import CommandLineParsing
import Foundation
import JSONValues
import Tokenizers

/// `graft tokenize`.
enum TokenizeCommand: Verb {
  static let model = Option<String>(
    "model", default: nil, help: "Directory with a tokenizer, GGUF file or hub name.")
  static let text = Option<String>("text", default: nil, help: "Text, or ids with --decode.")
  static let file = Option<String>(
    "file", default: nil, help: "File, one text or row of ids a line.")
  static let pair = Option<String>(
    "pair", default: nil, help: "Second text that belongs to --text.")
  static let requests = Option<String>(
    "requests", default: nil, help: "File, one JSON request a line.")
  static let offsets = Flag("offsets", help: "Print offsets and all else of an encoding.")
  static let count = Flag("count", help: "Print the numbers of texts and ids, and the seconds.")
  static let allCores = Flag("all-cores", help: "Count on all processors.")
  static let decode = Flag("decode", help: "Turn ids into text.")
  static let special = Flag(
    "special-tokens", default: true, help: "Add the post-processor's tokens.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "tokenize", summary: "Turn text into token ids and back",
    options: [model, text, pair, file, requests, offsets, count, allCores, decode, special, json])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    let tokenizer = try Tokenizer(
      directory: try ModelSource.directory(of: try arguments.value(model)))
    let document = TokenizationDocument(tokenizer)
    let data: Data
    switch (arguments[text], arguments[file], arguments[requests]) {
    case (let text?, nil, nil): data = Data(text.utf8)
    case (nil, let path?, nil), (nil, nil, let path?):
      guard let found = FileManager.default.contents(atPath: path) else {
        throw CheckpointError.missing(path: path)
      }
      data = found
    default: throw UsageError("give one of --text, --file and --requests")
    }
    if let path = arguments[requests] {
      try document.answer(requests: data, file: path) { console.write($0) }
      return .done
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
    if arguments[count] {
      console.write(
        document.count(
          ofLines: data, addSpecialTokens: arguments[special], onAllCores: arguments[allCores]))
      return .done
    }
    if let text = arguments[text], arguments[offsets] || arguments[pair] != nil {
      console.write(
        try document.encoding(
          of: text, pair: arguments[pair], addSpecialTokens: arguments[special]))
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
