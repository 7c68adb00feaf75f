import Layers

extension PeftModel {
  /// Runs `body` with an adapter of its own for each row of the batch, as PEFT's `adapter_names`.
  ///
  /// All rows are computed together. Inputs of the layers must be `[rows, length, size]`, as they are
  /// in `logits` and `generate`.
  ///
  /// - Parameters:
  ///   - names: The adapter of each row; nil for the base alone.
  ///   - body: What to run; without gradients and without dropout.
  /// - Returns: What `body` returns.
  /// - Throws: ``AdapterError/name(_:exists:)`` for an adapter that is not there,
  ///   ``AdapterError/impossible(method:what:)`` for one that is no product of two factors
  ///   on linear layers,
  ///   ``AdapterError/conflict(_:)`` while adapters are merged, the model trains or virtual tokens act,
  ///   when an adapter has modules or tokens of its own, or when one that acts has modules of its own
  ///   or takes part in whole passes; and what `body` throws.
  public func withAdapters<Result>(
    perRow names: [String?], _ body: () throws -> Result
  ) throws -> Result {
    for name in Set(names.compactMap { $0 }) {
      let found = try adapter(named: name)
      let parts = adaptedPlaces.compactMap { $0.part.part(name) }
      guard found.configuration is LoRAConfig,
        parts.allSatisfy({ ($0 as? LoRAAdapter)?.isProduct == true })
      else {
        throw AdapterError.impossible(
          method: type(of: found.configuration).type, what: "given to single rows of a batch")
      }
      guard found.tokens.isEmpty else {
        throw AdapterError.conflict("\(name) trains tokens for all rows, not for single ones")
      }
      guard found.replacements.isEmpty else {
        throw AdapterError.conflict(
          "\(name) replaces \(found.replacements[0].path) for all rows, not for single ones")
      }
    }
    guard adaptedPlaces.allSatisfy({ $0.part.mergedNames.isEmpty }) else {
      throw AdapterError.conflict("adapters are merged; unmerge them to give rows their own")
    }
    guard !context.isTraining else {
      throw AdapterError.conflict("rows have adapters of their own in evaluation only")
    }
    if let other = placed.first(where: {
      context.active.contains($0.name)
        && ($0.onActivation != nil || !$0.replacements.isEmpty)
    }) {
      throw AdapterError.conflict(
        "\(other.name) acts on all rows; deactivate it to give rows adapters of their own")
    }
    let before = context.rowAdapters
    context.rowAdapters = names
    defer { context.rowAdapters = before }
    return try body()
  }
}
