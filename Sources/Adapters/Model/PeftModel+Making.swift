public import Layers
public import Models

/// Wraps a model and adds a first adapter, as PEFT's `get_peft_model`.
///
/// - Parameters:
///   - model: The model; changed in place.
///   - configuration: The adapter.
///   - adapterName: Its name; files of one named "default" have no folder of their own.
///   - seed: Start of the random numbers of its initial weights and of dropout.
/// - Returns: The model with the adapter, which is trained unless its `inferenceMode` is set.
/// - Throws: ``AdapterError`` when the configuration does not fit the model.
public func getPeftModel<Base: Module>(
  _ model: Base, _ configuration: any AdapterConfiguration, adapterName: String = "default",
  seed: UInt64 = 0
) throws(AdapterError) -> PeftModel<Base> {
  try PeftModel(model, configuration, adapterName: adapterName, seed: seed)
}

extension PeftModel where Base: GenerativeModel {
  /// Writes with the adapters that act, as the model itself does once it is wrapped.
  ///
  /// - Parameters:
  ///   - prompts: Ids of each prompt, or of what an encoder reads; at least one each.
  ///   - generation: How tokens are chosen, what ends a row, what is returned.
  ///   - onToken: As in ``GenerativeModel/generate(_:_:onToken:)``.
  /// - Returns: For each prompt the texts that the configuration asks for, best first.
  /// - Throws: `ModelError` for a prompt or a setting that cannot be.
  public func generate(
    _ prompts: [[Int]], _ generation: TextGeneration,
    onToken: (_ row: Int, _ token: Int) -> Bool = { _, _ in true }
  ) throws(ModelError) -> [[GeneratedText]] {
    try base.generate(prompts, generation, onToken: onToken)
  }

  /// Writes the best tokens with the adapters that act.
  ///
  /// - Parameters:
  ///   - prompts: Ids of each prompt, or of what an encoder reads; at least one each.
  ///   - maximumNewTokens: Most tokens to write for each.
  ///   - endOfTextIDs: Tokens that end a row; nil for those of `config.json`.
  /// - Returns: The new tokens of each row.
  /// - Throws: `ModelError` for a prompt that cannot be.
  public func generate(
    prompts: [[Int]], maximumNewTokens: Int, endOfTextIDs: Set<Int>? = nil
  ) throws(ModelError) -> [[Int]] {
    try base.generate(
      prompts: prompts, maximumNewTokens: maximumNewTokens, endOfTextIDs: endOfTextIDs)
  }
}
