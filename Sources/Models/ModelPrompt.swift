public import Tensors

/// Virtual tokens that stand before the tokens of every row.
///
/// They precede the whole row, padding on its left included, and every position may see them. Rotary
/// positions of the row count on from theirs; positions that the caller gives are moved behind them.
public struct ModelPrompt {
  /// What is put before a row.
  public enum Kind: Sendable {
    /// Embeddings, which go through all blocks as tokens do.
    case embeddings
    /// Keys and values for the attention of each block, as if they were cached.
    case keysAndValues
  }

  /// What is put before a row.
  public let kind: Kind
  /// Number n of virtual tokens.
  public let length: Int
  /// What the virtual tokens are asked in training; nil for nothing.
  public var targets: PromptTargets?
  /// Makes the numbers, for each forward pass anew, from the number of rows of the batch.
  ///
  /// `[n, hidden]` or `[batch, n, hidden]`, or `[layers, 2, key/value heads, n, head size]`.
  let make: (_ rows: Int) -> Tensor

  /// Makes a prompt.
  ///
  /// - Parameters:
  ///   - kind: What is put before a row.
  ///   - length: Number n of virtual tokens, positive.
  ///   - targets: What the virtual tokens are asked in training; for embeddings only.
  ///   - make: Makes the numbers from the number of rows, for each forward pass anew, in any
  ///     floating-point type and on the model's device: `[n, hidden]` or `[rows, n, hidden]` for
  ///     embeddings, `[layers, 2, key/value heads, n, head size]` for keys and values. Before an
  ///     encoder only the first n embeddings stand; there may be more.
  public init(
    _ kind: Kind, length: Int, targets: PromptTargets? = nil,
    make: @escaping (_ rows: Int) -> Tensor
  ) {
    precondition(length > 0, "ModelPrompt: \(length) virtual tokens")
    self.kind = kind
    self.length = length
    self.targets = targets
    self.make = make
  }
}

/// Labels of virtual tokens.
public struct PromptTargets: Equatable, Sendable {
  /// One for each virtual token, `ignoredLabel` where nothing is asked.
  public let labels: [Int]
  /// Weight of each of them in the loss; the row's own labels have one.
  public let weights: [Double]

  /// Makes labels.
  ///
  /// - Parameters:
  ///   - labels: One for each virtual token, `ignoredLabel` where nothing is asked.
  ///   - weights: As many weights.
  public init(labels: [Int], weights: [Double]) {
    precondition(labels.count == weights.count, "PromptTargets: \(labels.count) labels")
    self.labels = labels
    self.weights = weights
  }
}

/// A batch behind its prompt.
struct PlacedInput {
  /// Queries of this pass.
  let length: Int
  /// Keys that they may see.
  let keyLength: Int
  /// int64 `[batch or 1, length]`.
  let positions: Tensor
  /// `[batch, keyLength]`, or nil.
  let mask: Tensor?
  /// Virtual tokens among the queries.
  let leading: Int
  /// `[layers, 2, key/value heads, n, head size]`, where the prompt is these and not cached yet.
  let keysAndValues: Tensor?

  /// Puts virtual embeddings before `x` where it is time for them.
  init(_ batch: DecoderInput, prompt: ModelPrompt?, past: Int, embeddings x: inout Tensor) {
    let (rows, own, virtual) = (batch.ids.size(0), batch.ids.size(1), prompt?.length ?? 0)
    // What is in the cache has the prompt before it.
    let made = past == 0 ? prompt?.make(rows).to(x.dtype) : nil
    if let made, prompt?.kind == .embeddings {
      let each = made.rank == 2 ? made.unsqueezed(0) : made
      x = Tensor.concatenated([each.expanded([rows, -1, -1]), x], dimension: 1)
      leading = virtual
      keysAndValues = nil
    } else {
      leading = 0
      keysAndValues = made
    }
    length = leading + own
    keyLength = (past == 0 ? virtual : past) + own
    let device = batch.ids.device
    if let given = batch.positions {
      let moved = virtual > 0 ? (given + Double(virtual)).to(.int64) : given
      let before = Tensor.arange(0, leading, device: device).unsqueezed(0)
      positions =
        leading > 0
        ? .concatenated([before.expanded([given.size(0), -1]), moved], dimension: 1) : moved
    } else {
      positions = Tensor.arange(keyLength - length, keyLength, device: device).unsqueezed(0)
    }
    mask = batch.mask.map { mask in
      guard virtual > 0 else { return mask }
      let before = Tensor.ones([rows, virtual], dtype: mask.dtype, device: mask.device)
      return .concatenated([before, mask], dimension: 1)
    }
  }
}
