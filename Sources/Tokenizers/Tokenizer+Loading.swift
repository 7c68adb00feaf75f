import Foundation
import JSONValues

extension Tokenizer {
  /// Reads the tokenizer of a model directory.
  ///
  /// `tokenizer.json` must be there, or else a SentencePiece model: `tokenizer.model` or
  /// `spiece.model`. `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja`,
  /// which wins over the configuration's template, are read if they are there.
  ///
  /// - Parameter directory: The path of the directory.
  /// - Throws: `TokenizerError` naming the file and the component that cannot be used.
  public convenience init(directory: String) throws(TokenizerError) {
    let path = { (name: String) in
      URL(fileURLWithPath: directory).appendingPathComponent(name).path
    }
    var file = path("tokenizer.json")
    let configuration = try Self.readJSON(path("tokenizer_config.json"))
    var tokenizer = try Self.readJSON(file)
    if tokenizer == nil,
      let model = ["tokenizer.model", "spiece.model"].map(path).first(where: {
        FileManager.default.fileExists(atPath: $0)
      })
    {
      file = model
      tokenizer = try Self.readSentencePiece(model, configuration)
    }
    guard let tokenizer else { throw .missingFile(path: file) }
    try self.init(
      tokenizerJSON: tokenizer,
      configuration: configuration,
      chatTemplate: try Self.readText(path("chat_template.jinja")),
      specialTokensMap: try Self.readJSON(path("special_tokens_map.json")),
      file: file)
  }

  /// Creates a tokenizer from the bytes of a SentencePiece model.
  ///
  /// - Parameters:
  ///   - bytes: What the `.model` file holds.
  ///   - addsBegin: Whether the token that begins a text is put before it.
  ///   - addsEnd: Whether the token that ends a text is put behind it.
  ///   - file: The name of the file in errors.
  /// - Throws: `TokenizerError` naming what cannot be used.
  public convenience init(
    sentencePieceModel bytes: [UInt8], addsBegin: Bool = false, addsEnd: Bool = false,
    file: String = "tokenizer.model"
  ) throws(TokenizerError) {
    let model = try SentencePieceModel(bytes, file: file)
    try self.init(
      tokenizerJSON: try model.tokenizerJSON(addsBegin: addsBegin, addsEnd: addsEnd), file: file)
  }

  /// The model as a tokenizer.json; the special tokens around a text are those of the configuration,
  /// or of the class that it names.
  private static func readSentencePiece(
    _ path: String, _ configuration: JSON?
  ) throws(TokenizerError) -> JSON {
    let bytes: [UInt8]
    do {
      bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    } catch {
      throw .unreadable(path: path, reason: error.localizedDescription)
    }
    let name = configuration?["tokenizer_class"]?.stringValue ?? ""
    return try SentencePieceModel(bytes, file: path).tokenizerJSON(
      addsBegin: configuration?["add_bos_token"]?.boolValue ?? name.contains("Llama"),
      addsEnd: configuration?["add_eos_token"]?.boolValue ?? name.contains("T5"))
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
