import Layers
public import Tensors

/// A model that can have virtual tokens before the tokens of every row.
public protocol PromptableModel: AdaptableModel {
  /// Sizes that a prompt has to fit.
  var promptShape: PromptShape { get }
  /// What stands before the tokens of every row; nil for nothing.
  var prompt: ModelPrompt? { get set }
  /// Whether a prompt can be keys and values.
  var takesKeysAndValues: Bool { get }

  /// Embeddings of tokens as the model itself has them.
  ///
  /// - Parameter ids: int64 ids of any shape, within the vocabulary.
  /// - Returns: Their shape and the hidden size, in the model's type.
  func tokenEmbeddings(_ ids: Tensor) -> Tensor

  /// Keys and values that the model computes for a row without a prompt.
  ///
  /// - Parameter ids: Ids within the vocabulary, at least one.
  /// - Returns: `[layers, 2, key/value heads, count, head size]`, without a history.
  func keysAndValues(of ids: [Int]) -> Tensor
}

extension PromptableModel {
  /// Yes.
  public var takesKeysAndValues: Bool { true }
}

/// Sizes that a prompt has to fit.
public struct PromptShape: Equatable, Sendable {
  /// Width of embeddings.
  public let hiddenSize: Int
  /// Tokens of the vocabulary.
  public let vocabularySize: Int
  /// Blocks.
  public let layerCount: Int
  /// Query heads.
  public let headCount: Int
  /// Key/value heads.
  public let keyValueHeadCount: Int
  /// Dimensions of one head.
  public let headSize: Int
  /// Longest sequence in tokens, virtual ones counted.
  public let maximumLength: Int
  /// Stacks of blocks: one, or an encoder and a decoder.
  public let submoduleCount: Int

  /// Makes a description.
  ///
  /// - Parameters:
  ///   - hiddenSize: Width of embeddings.
  ///   - vocabularySize: Tokens of the vocabulary.
  ///   - layerCount: Blocks.
  ///   - headCount: Query heads.
  ///   - keyValueHeadCount: Key/value heads.
  ///   - headSize: Dimensions of one head.
  ///   - maximumLength: Longest sequence in tokens.
  ///   - submoduleCount: Stacks of blocks.
  public init(
    hiddenSize: Int, vocabularySize: Int, layerCount: Int, headCount: Int, keyValueHeadCount: Int,
    headSize: Int, maximumLength: Int, submoduleCount: Int = 1
  ) {
    self.hiddenSize = hiddenSize
    self.vocabularySize = vocabularySize
    self.layerCount = layerCount
    self.headCount = headCount
    self.keyValueHeadCount = keyValueHeadCount
    self.headSize = headSize
    self.maximumLength = maximumLength
    self.submoduleCount = submoduleCount
  }
}

extension DecoderForCausalLM: PromptableModel {
  /// Sizes of the configuration.
  public var promptShape: PromptShape {
    let c = configuration
    return PromptShape(
      hiddenSize: c.hiddenSize, vocabularySize: c.vocabularySize, layerCount: c.layerCount,
      headCount: c.headCount, keyValueHeadCount: c.keyValueHeadCount, headSize: c.headSize,
      maximumLength: c.maximumLength)
  }

  /// The decoder's.
  public var prompt: ModelPrompt? {
    get { model.prompt }
    set { model.prompt = newValue }
  }

  /// Rows of the embedding table.
  ///
  /// - Parameter ids: int64 ids of any shape, within the vocabulary.
  /// - Returns: Their shape and the hidden size, in the model's type.
  public func tokenEmbeddings(_ ids: Tensor) -> Tensor { model.tokenEmbeddings(ids) }

  /// Keys and values that the model computes for a row without a prompt.
  ///
  /// - Parameter ids: Ids within the vocabulary, at least one.
  /// - Returns: `[layers, 2, key/value heads, count, head size]`, without a history.
  public func keysAndValues(of ids: [Int]) -> Tensor {
    model.keysAndValues(of: ids)
  }
}
