import Foundation
import JSONValues

/// A directory without `tokenizer.json`: vocabulary files, read as the class of transformers that the
/// directory names reads them.
///
/// The class is that of `tokenizer_config.json`, else of `config.json`, else the one of the
/// `model_type`, else what the files are usually of. What it makes is written as the sections of a
/// `tokenizer.json`. Source: transformers 5.23, `tokenization_utils_base.py` and the classes' own
/// files. Two things differ on purpose: merges of a SentencePiece BPE follow the scores of the pieces,
/// as SentencePiece does (transformers takes their ids, which is the same in most models), and
/// LlamaTokenizer and GemmaTokenizer put their first token before a text unless `add_bos_token` says
/// otherwise, as they are documented. A `.model` file without any class is read as SentencePiece does.
struct VocabularyFiles {
  /// What a directory gives: the sections of tokenizer.json, the configuration with the class's special
  /// tokens in it, and the file for errors.
  struct Result {
    var tokenizerJSON: JSON
    var configuration: JSON
    var file: String
  }

  let directory: String
  let configuration: JSON?
  let specialTokensMap: JSON?

  static let models = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model"]
  static let all = ["vocab.txt", "vocab.json and merges.txt"] + models

  func path(_ name: String) -> String {
    URL(fileURLWithPath: directory).appendingPathComponent(name).path
  }

  func exists(_ name: String) -> Bool {
    FileManager.default.fileExists(atPath: path(name))
  }

  /// The tokenizer of the directory's files, or nil when there are none.
  func read() throws(TokenizerError) -> Result? {
    let model = Self.models.first(where: exists)
    guard model != nil || exists("vocab.txt") || exists("vocab.json") else { return nil }
    guard let chosen = try tokenizerClass(model) else {
      // Only a SentencePiece model says by itself how it is used.
      let name = model ?? Self.models[0]
      let file = path(name)
      let reader = try SentencePieceModel(try Self.bytes(of: file), file: file)
      return Result(
        tokenizerJSON: try reader.tokenizerJSON(
          addsBegin: configuration?["add_bos_token"]?.boolValue ?? false,
          addsEnd: configuration?["add_eos_token"]?.boolValue ?? false),
        configuration: configuration ?? .null, file: file)
    }
    let tokens = try ListedTokens(
      chosen, configuration: configuration, specialTokensMap: specialTokensMap,
      addedTokens: try Self.json(path("added_tokens.json")), directory: directory)
    let name = try needed(by: chosen, model)
    let file = path(name)
    let maker = TokenizerClassSections(chosen, tokens, file: file)
    let json: JSON
    switch chosen {
    case .bert:
      json = try maker.wordPieces(try Self.wordList(file))
    case .gpt2, .roberta, .qwen2:
      json = try maker.bytePairs(
        try Self.vocabulary(file), merges: try Self.merges(path("merges.txt")))
    case .xlmRoberta, .camembert, .t5, .albert, .gemma, .llama:
      json = try maker.pieces(of: try SentencePieceModel(try Self.bytes(of: file), file: file))
    }
    return Result(tokenizerJSON: json, configuration: tokens.configuration, file: file)
  }

  /// The file that a class reads; the others that it needs are checked to be there.
  private func needed(
    by chosen: TokenizerClass, _ model: String?
  ) throws(TokenizerError) -> String {
    switch chosen {
    case .bert:
      guard exists("vocab.txt") else { throw lacking("vocab.txt", chosen) }
      return "vocab.txt"
    case .gpt2, .roberta, .qwen2:
      for name in ["vocab.json", "merges.txt"] where !exists(name) { throw lacking(name, chosen) }
      return "vocab.json"
    default:
      if exists(chosen.modelName) { return chosen.modelName }
      guard let model else { throw lacking(chosen.modelName, chosen) }
      return model
    }
  }

  private func lacking(_ name: String, _ chosen: TokenizerClass) -> TokenizerError {
    .malformedComponent(
      file: path(name), component: chosen.rawValue,
      problem: "there is no such file, and no tokenizer.json either")
  }

  // MARK: The class

  /// The class of the directory; nil for a SentencePiece model that no class is named for.
  private func tokenizerClass(_ model: String?) throws(TokenizerError) -> TokenizerClass? {
    let modelConfiguration = try Self.json(path("config.json"))
    let type = modelConfiguration?["model_type"]?.stringValue ?? ""
    let named =
      configuration?["tokenizer_class"]?.stringValue
      ?? modelConfiguration?["tokenizer_class"]?.stringValue
    if let named, !TokenizerClass.generic.contains(named) {
      // transformers does not believe these models' files.
      if type == "qwen2" { return .qwen2 }
      if let known = TokenizerClass(named: named) { return known }
      if model == nil || TokenizerClass.ownLayouts.contains(TokenizerClass.plain(named)) {
        throw .unknownComponent(
          file: path("tokenizer_config.json"), component: "tokenizer_class", type: named,
          known: TokenizerClass.allCases.map(\.rawValue))
      }
      return nil
    }
    if let known = TokenizerClass(modelType: type) { return known }
    if exists("vocab.txt") { return .bert }
    if exists("vocab.json") { return .gpt2 }
    return model == "sentencepiece.bpe.model" ? .xlmRoberta : nil
  }

  // MARK: Files

  static func bytes(of path: String) throws(TokenizerError) -> [UInt8] {
    do {
      return Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    } catch {
      throw .unreadable(path: path, reason: error.localizedDescription)
    }
  }

  static func json(_ path: String) throws(TokenizerError) -> JSON? {
    do {
      return try JSON.read(path: path)
    } catch .missing {
      return nil
    } catch {
      throw .json(error)
    }
  }
}
