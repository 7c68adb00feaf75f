import Foundation
import JSONValues

extension Tokenizer {
  /// Reads the tokenizer of a model directory.
  ///
  /// `tokenizer.json` is followed literally. Where there is none, vocabulary files are read as the class
  /// of transformers that the directory names reads them: `vocab.txt`, `vocab.json` with `merges.txt`,
  /// or a SentencePiece model (`tokenizer.model`, `spiece.model`, `sentencepiece.bpe.model`), with
  /// `added_tokens.json`. `tokenizer_config.json`, `special_tokens_map.json`,
  /// `chat_template.jinja` and `additional_chat_templates/NAME.jinja` are read if they are there; these
  /// templates take the place of all that the configuration holds.
  ///
  /// - Parameter directory: The path of the directory.
  /// - Throws: `TokenizerError` naming the file and the component that cannot be used.
  public convenience init(directory: String) throws(TokenizerError) {
    let path = { (name: String) in
      URL(fileURLWithPath: directory).appendingPathComponent(name).path
    }
    var file = path("tokenizer.json")
    var configuration = try VocabularyFiles.json(path("tokenizer_config.json"))
    let specialTokensMap = try VocabularyFiles.json(path("special_tokens_map.json"))
    var tokenizer = try VocabularyFiles.json(file)
    if tokenizer == nil {
      let files = VocabularyFiles(
        directory: directory, configuration: configuration, specialTokensMap: specialTokensMap)
      if let found = try files.read() {
        (tokenizer, configuration, file) = (found.tokenizerJSON, found.configuration, found.file)
      }
    }
    guard let tokenizer else { throw .missingFile(path: file) }
    try self.init(
      tokenizerJSON: tokenizer,
      configuration: configuration,
      chatTemplate: try Self.readText(path("chat_template.jinja")),
      namedChatTemplates: try Self.readTemplates(path("additional_chat_templates")),
      specialTokensMap: specialTokensMap,
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

  /// The templates of a folder by the names of their files, in the order of the names.
  private static func readTemplates(
    _ folder: String
  ) throws(TokenizerError) -> [(name: String, source: String)] {
    let ending = ".jinja"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    var templates: [(name: String, source: String)] = []
    for name in names.filter({ $0.hasSuffix(ending) }).sorted() {
      guard let source = try readText(folder + "/" + name) else { continue }
      templates.append((String(name.dropLast(ending.count)), source))
    }
    return templates
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
