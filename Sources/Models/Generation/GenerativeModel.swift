/// Tokens that a model's configuration names for texts.
public struct TextTokens: Equatable, Sendable {
  /// Tokens that end a text.
  public var endIDs: [Int]
  /// The token that fills rows; nil where none is named.
  public var paddingID: Int?
  /// The token that a decoder behind an encoder begins with; nil for other models.
  public var decoderStartID: Int?

  /// Makes a description.
  ///
  /// - Parameters:
  ///   - endIDs: Tokens that end a text.
  ///   - paddingID: The token that fills rows.
  ///   - decoderStartID: The token that a decoder behind an encoder begins with.
  public init(endIDs: [Int], paddingID: Int? = nil, decoderStartID: Int? = nil) {
    self.endIDs = endIDs
    self.paddingID = paddingID
    self.decoderStartID = decoderStartID
  }
}

/// A model that writes text, which adapters may want to follow.
///
/// A decoder continues its prompts; a model with an encoder reads them and writes another text.
public protocol GenerativeModel: AdaptableModel {
  /// Told of the rows that stay when a cache takes others, by their numbers before; some may be there
  /// more than once.
  var rowObserver: ((_ rows: [Int]) -> Void)? { get set }
  /// Tokens that `config.json` names for texts.
  var textTokens: TextTokens { get }

  /// Checks that ids can be given to this model.
  ///
  /// - Parameters:
  ///   - ids: Ids of one row.
  ///   - room: How many positions must be left, where prompt and answer share the model's limit.
  /// - Throws: ``ModelError/input(_:)`` naming what is wrong.
  func check(_ ids: [Int], room: Int) throws(ModelError)

  /// What writing begins with.
  ///
  /// - Parameters:
  ///   - prompts: Checked ids of each prompt.
  ///   - configuration: Lengths and special tokens.
  /// - Returns: The rows, and a state that has read nothing.
  /// - Throws: ``ModelError`` when the configuration lacks a token that the model needs.
  func beginning(
    _ prompts: [[Int]], _ configuration: GenerationConfiguration
  ) throws(ModelError) -> (input: GenerationInput, state: any DecodingState)
}

extension GenerativeModel {
  /// Writes what follows prompts, or answers to what an encoder reads.
  ///
  /// A row ends with a token that ends texts, which is the last of its result, with a stop string, or
  /// where there is no room left.
  ///
  /// - Parameters:
  ///   - prompts: Ids of each prompt, at least one each.
  ///   - generation: How tokens are chosen, what ends a row, what is returned.
  ///   - onToken: Called with row and token as soon as each is known, where there are no beams; return
  ///     false to stop all.
  /// - Returns: For each prompt the texts that the configuration asks for, best first.
  /// - Throws: ``ModelError`` when a prompt is empty, has an id outside the vocabulary, or is longer
  ///   than the model allows, when settings exclude each other, or when the model's scores are not
  ///   numbers.
  public func generate(
    _ prompts: [[Int]], _ generation: TextGeneration,
    onToken: (_ row: Int, _ token: Int) -> Bool = { _, _ in true }
  ) throws(ModelError) -> [[GeneratedText]] {
    guard !prompts.isEmpty else { return [] }
    for prompt in prompts { try check(prompt, room: 1) }
    let (input, state) = try beginning(prompts, generation.configuration)
    return try generation.run(input, state, onToken: onToken)
  }

  /// Writes the best tokens behind prompts, or what answers them.
  ///
  /// - Parameters:
  ///   - prompts: Ids of each prompt, at least one each.
  ///   - maximumNewTokens: Most tokens to write for each.
  ///   - endOfTextIDs: Tokens that end a row; nil for those of `config.json`.
  /// - Returns: The new tokens of each row.
  /// - Throws: ``ModelError/input(_:)`` when a prompt is empty, has an id outside the vocabulary, or
  ///   is longer than the model allows, or when the model's scores are not numbers.
  public func generate(
    prompts: [[Int]], maximumNewTokens: Int, endOfTextIDs: Set<Int>? = nil
  ) throws(ModelError) -> [[Int]] {
    let tokens = textTokens
    var c = GenerationConfiguration()
    c.maximumNewTokens = maximumNewTokens
    c.endOfTextIDs = endOfTextIDs?.sorted() ?? tokens.endIDs
    c.paddingID = tokens.paddingID
    c.decoderStartID = tokens.decoderStartID
    return try generate(prompts, TextGeneration(c)).map { $0[0].ids }
  }
}
