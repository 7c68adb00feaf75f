import Tensors

/// Linear layers that read the same rows, as functions that record nothing.
///
/// Their narrow products x A^T are one product with all the A below each other.
struct LinearGroup {
  // N rows, r rank.
  private struct Update {
    let layer: Int
    let factors: LowRankTerm
    /// Its columns in the narrow product of the group.
    let columns: Range<Int>
  }

  private let bases: [any LinearProjection]
  private let updates: [Update]
  /// Every A below the one before, `[sum of ranks, in]`; nil where there is no update.
  private let stacked: Tensor?

  /// What is differentiated with respect to: A and B of each update, in the order of the layers.
  let trained: [Tensor]

  init(_ parts: [ExplicitProjection]) {
    bases = parts.map(\.base)
    var width = 0
    updates = parts.enumerated().compactMap { index, part in
      part.update.map { factors in
        defer { width += factors.a.size(0) }
        return Update(
          layer: index, factors: factors, columns: width..<width + factors.a.size(0))
      }
    }
    trained = updates.flatMap { [$0.factors.a, $0.factors.b] }
    let all = updates.map(\.factors.a)
    stacked =
      all.isEmpty ? nil : withoutGradients { all.count == 1 ? all[0] : Tensor.concatenated(all) }
  }

  /// The layers' outputs `[N, out]`, and what the backward pass needs besides the rows: their narrow
  /// product `[N, sum of ranks]`.
  func callAsFunction(_ rows: Tensor) -> (outputs: [Tensor], narrow: Tensor?) {
    let outputs = bases.map { $0(rows) }
    guard let stacked else { return (outputs, nil) }
    let narrow = rows.linear(stacked)
    for update in updates {
      outputs[update.layer].addMatrixProductInPlace(
        narrow.narrowed(1, update.columns), update.factors.b.transposed(),
        scale: update.factors.scale)
    }
    return (outputs, narrow)
  }

  /// Gradients of the rows `[N, in]` and of `trained`, from those of the outputs.
  ///
  /// - Parameters:
  ///   - gradients: `[N, out]` for each layer; nil for zero.
  ///   - narrow: What the forward pass gave.
  ///   - needsInput: Whether the rows' gradient is wanted.
  ///   - rows: Computes the rows again; called where an A is trained.
  /// - Returns: Nil where a gradient is zero or not wanted.
  func gradients(
    _ gradients: [Tensor?], narrow: Tensor?, needsInput: Bool, rows: () -> Tensor
  ) -> (input: Tensor?, trained: [Tensor?]) {
    var input: Tensor?
    if needsInput {
      for (base, gradient) in zip(bases, gradients) {
        guard let gradient else { continue }
        input = input.map { base.pulledBack(gradient, addedTo: $0) } ?? base.pulledBack(gradient)
      }
    }
    guard let stacked, let narrow else { return (input, []) }
    // s g B of every layer, beside each other: what passes back through A.
    var parts: [Tensor] = []  // [N, rank]
    var own: [Tensor?] = []
    for update in updates {
      let factors = update.factors
      guard let gradient = gradients[update.layer] else {
        own += [nil, nil]
        parts.append(narrow.narrowed(1, update.columns).zerosLike())
        continue
      }
      parts.append(gradient.linear((factors.b * factors.scale).transposed()))
      // Transposed, as libraries are slow where the result has few columns.
      let ofB =
        factors.b.requiresGradient
        ? narrow.narrowed(1, update.columns).transposed().linear(gradient.transposed())
          .multiplyInPlace(factors.scale).transposed().contiguous() : nil
      own += [nil, ofB]
    }
    let inner = parts.count == 1 ? parts[0] : Tensor.concatenated(parts, dimension: 1)
    if let input { input.addMatrixProductInPlace(inner, stacked) }
    if updates.contains(where: { $0.factors.a.requiresGradient }) {
      let ofA = inner.transposed().linear(rows().transposed())  // [sum of ranks, in]
      for (place, update) in updates.enumerated()
      where update.factors.a.requiresGradient && gradients[update.layer] != nil {
        own[2 * place] = ofA.narrowed(0, update.columns)
      }
    }
    return (input, own)
  }
}

extension ExplicitProjection {
  /// Whether the fused layers can compute it: float32, on the processor.
  var isFusable: Bool {
    let tensors = update.map { [$0.a, $0.b] } ?? []
    return base.dtype == .float32 && base.device.kind == .cpu
      && tensors.allSatisfy { $0.dtype == .float32 && $0.device.kind == .cpu }
  }
}
