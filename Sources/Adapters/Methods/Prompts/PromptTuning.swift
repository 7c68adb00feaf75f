public import JSONValues
import Layers
import Models
import Tensors

/// A method whose virtual tokens can begin as a text.
public protocol TextPromptConfiguration: PromptConfiguration {
  /// PEFT's `prompt_tuning_init_text`, where that is how the prompt begins; else nil.
  var textToBeginWith: String? { get }
  /// Ids of that text by the model's tokenizer, which the library is given; no field of the file.
  ///
  /// They are cut or repeated to the number of virtual tokens.
  var initialTokenIDs: [Int]? { get set }
  /// PEFT's `tokenizer_name_or_path`.
  var tokenizerName: String? { get set }
  /// PEFT's `tokenizer_kwargs`; kept for PEFT, which hands it to its tokenizer.
  var tokenizerOptions: JSON { get }
}

/// Configuration of prompt tuning: n virtual tokens whose embeddings are trained.
///
/// Source: Lester et al. 2021, arXiv 2104.08691. Defaults are those of PEFT 0.21.2, which counts on
/// from 0 over left padding and ignores positions; positions that are given are moved behind the
/// virtual tokens here, so that a padded row gives what it gives alone.
public struct PromptTuningConfig: TextPromptConfiguration {
  /// PEFT's name of the method.
  public static let type = "PROMPT_TUNING"

  /// How the virtual tokens begin.
  public enum Initialization: String, Sendable, CaseIterable {
    /// Standard normal numbers.
    case random = "RANDOM"
    /// Embeddings of a text's tokens, cut or repeated.
    case text = "TEXT"
    /// Embeddings of tokens drawn from the vocabulary, with repetition.
    case vocabulary = "SAMPLE_VOCAB"
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// How many virtual tokens, and sizes of the model.
  public var settings = PromptSettings()
  /// How the virtual tokens begin.
  public var initialization = Initialization.random
  /// The text for ``Initialization/text``.
  public var text: String?
  /// PEFT's `tokenizer_name_or_path`, which PEFT asks for with a text.
  public var tokenizerName: String?
  /// PEFT's `tokenizer_kwargs`.
  public var tokenizerOptions = JSON.null
  /// Ids of the text by the model's tokenizer.
  public var initialTokenIDs: [Int]?

  /// Makes a configuration with PEFT's defaults, which says nothing of the number of tokens.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - virtualTokens: How many virtual tokens, positive.
  ///   - initialization: How they begin.
  public init(virtualTokens: Int, initialization: Initialization = .random) {
    settings.tokenCount = virtualTokens
    self.initialization = initialization
  }

  /// Makes a configuration whose virtual tokens begin as a text.
  ///
  /// - Parameters:
  ///   - virtualTokens: How many virtual tokens, positive.
  ///   - text: The text, for the reader of the file.
  ///   - tokenIDs: Its ids by the model's tokenizer.
  ///   - tokenizerName: Where PEFT finds the tokenizer.
  public init(virtualTokens: Int, text: String, tokenIDs: [Int], tokenizerName: String) {
    self.init(virtualTokens: virtualTokens, initialization: .text)
    self.text = text
    self.tokenizerName = tokenizerName
    initialTokenIDs = tokenIDs
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    ConfigurationField.settings + [
      .choice("prompt_tuning_init", \.initialization), .string("prompt_tuning_init_text", \.text),
      .string("tokenizer_name_or_path", \.tokenizerName),
      .json("tokenizer_kwargs", \.tokenizerOptions),
    ]
  }

  /// The text, where that is how the prompt begins.
  public var textToBeginWith: String? { initialization == .text ? text : nil }
}

extension PromptTuningConfig: PromptMethod {
  static var kind: ModelPrompt.Kind { .embeddings }
  static var actsBeforeEncoders: Bool { true }

  func validateOwn() throws(AdapterError) {
    try requireText(isText: initialization == .text, text)
  }

  func encoder(for site: PromptSite) throws(AdapterError) -> any PromptEncoder {
    switch initialization {
    case .text where !site.isLoading:
      return PromptTable(try textTable(site))
    case .vocabulary where !site.isLoading:
      return PromptTable(try vocabularyTable(site))
    default:
      return PromptTable(site.normal([rowCount, site.model.promptShape.hiddenSize]))
    }
  }
}

extension PromptMethod where Self: TextPromptConfiguration {
  /// Checks what PEFT asks for beside a text.
  func requireText(isText: Bool, _ text: String?) throws(AdapterError) {
    guard isText else {
      return try require(
        "tokenizer_kwargs", tokenizerOptions.isNull, "nothing without prompt_tuning_init TEXT",
        tokenizerOptions.serialized())
    }
    try require(
      "prompt_tuning_init_text", text != nil, "a text with prompt_tuning_init TEXT", "none")
    try require(
      "tokenizer_name_or_path", tokenizerName?.isEmpty == false,
      "a tokenizer with prompt_tuning_init TEXT, without which PEFT does not open the file", "none")
  }

  /// Embeddings of the text's tokens, cut or repeated.
  func textTable(_ site: PromptSite) throws(AdapterError) -> Parameter {
    guard let ids = initialTokenIDs, !ids.isEmpty else {
      throw .configuration(
        field: "prompt_tuning_init_text", expected: "its token ids in initialTokenIDs",
        actual: "none")
    }
    return try site.embeddings(
      of: (0..<rowCount).map { ids[$0 % ids.count] }, field: "prompt_tuning_init_text")
  }

  /// Embeddings of tokens drawn from the vocabulary.
  func vocabularyTable(_ site: PromptSite) throws(AdapterError) -> Parameter {
    let drawn = Tensor.randomIntegers(
      in: 0..<site.model.promptShape.vocabularySize, [rowCount], generator: site.generator)
    return try site.embeddings(of: drawn.array(of: Int.self), field: "prompt_tuning_init")
  }
}
