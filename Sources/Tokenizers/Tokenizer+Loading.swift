import Foundation
import JSONValues

extension Tokenizer {
  /// Reads the tokenizer of a model directory.
  ///
  /// `tokenizer.json` must be there. `tokenizer_config.json`, `special_tokens_map.json` and
  /// `chat_template.jinja`, which wins over the configuration's template, are read if they are.
  ///
  /// - Parameter directory: The path of the directory.
  /// - Throws: `TokenizerError` naming the file and the component that cannot be used.
  public convenience init(directory: String) throws(TokenizerError) {
    let path = { (name: String) in
      URL(fileURLWithPath: directory).appendingPathComponent(name).path
    }
    let file = path("tokenizer.json")
    guard let tokenizer = try Self.readJSON(file) else { throw .missingFile(path: file) }
    try self.init(
      tokenizerJSON: tokenizer,
      configuration: try Self.readJSON(path("tokenizer_config.json")),
      chatTemplate: try Self.readText(path("chat_template.jinja")),
      specialTokensMap: try Self.readJSON(path("special_tokens_map.json")),
      file: file)
  }

  private static func readJSON(_ path: String) throws(TokenizerError) -> JSON? {
    do {
      return try JSON.read(path: path)
    } catch .missing {
      return nil
    } catch {
      throw .json(error)
    }
  }

  private static func readText(_ path: String) throws(TokenizerError) -> String? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    do {
      return String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
    } catch {
      throw .unreadable(path: path, reason: error.localizedDescription)
    }
  }
}
