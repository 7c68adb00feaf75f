public import Tensors

extension TaskModel: PromptableModel {
  /// Sizes of the model below the head.
  public var promptShape: PromptShape { backbone.promptShape }

  /// Whether the blocks take keys and values of virtual tokens.
  public var takesKeysAndValues: Bool { backbone.takesKeysAndValues }

  /// What stands before the tokens of every row; nil for nothing.
  public var prompt: ModelPrompt? {
    get { backbone.prompt }
    set { backbone.prompt = newValue }
  }

  /// Rows of the embedding table.
  ///
  /// - Parameter ids: int64 ids of any shape, within the vocabulary.
  /// - Returns: Their shape and the hidden size, in the model's type.
  public func tokenEmbeddings(_ ids: Tensor) -> Tensor { backbone.tokenEmbeddings(ids) }

  /// Keys and values that the model computes for a row without a prompt.
  ///
  /// - Parameter ids: Ids within the vocabulary, at least one.
  /// - Returns: `[layers, 2, heads, count, head size]`, without a history.
  public func keysAndValues(of ids: [Int]) -> Tensor { backbone.keysAndValues(of: ids) }

  /// Tokens that a row may have behind the virtual ones.
  public var rowLimit: Int { maximumLength - (prompt?.length ?? 0) }
}
