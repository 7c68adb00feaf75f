import Tensors

/// Linear layers that read the same rows, as functions that record nothing.
///
/// Their narrow products x A^T are one product with all the A below each other, unless elements of x are
/// dropped: each update sees others then.
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

  /// What the backward pass needs besides the rows.
  struct Narrow {
    /// The narrow products, `[N, sum of ranks]`.
    let products: Tensor
    /// For each update what it saw of the rows, bool `[N, in]`; nil for everything.
    let seen: [Tensor?]
  }

  /// The layers' outputs `[N, out]`, and what the backward pass needs.
  func callAsFunction(
    _ rows: Tensor, into memory: [Tensor]? = nil
  ) -> (outputs: [Tensor], narrow: Narrow?) {
    let narrow = stacked.map { stacked in
      // Drawn in the order of the layers, as these themselves do.
      let seen = updates.map { $0.factors.dropout > 0 ? rows.kept($0.factors) : nil }
      guard seen.contains(where: { $0 != nil }) else {
        return Narrow(products: rows.linear(stacked), seen: seen)
      }
      let products = zip(updates, seen).map { update, seen in
        (seen.map { rows * $0 } ?? rows).linear(update.factors.a)
      }
      return Narrow(products: .joined(products), seen: seen)
    }
    return (outputs(rows, narrow: narrow, into: memory), narrow)
  }

  /// Whether computing the outputs again costs little beside the rest of a step.
  var isQuick: Bool {
    bases.allSatisfy { ($0 as? any GroupedProjection)?.isQuick == true }
  }

  /// Whether all layers round gradients on their way back.
  var roundsGradients: Bool {
    bases.allSatisfy { ($0 as? any GroupedProjection)?.roundsGradients == true }
  }

  /// Size of the last dimension of each output.
  var outputSizes: [Int] { bases.map(\.outputSize) }

  /// The layers' outputs, with a narrow product that is known; `memory` may be used for them.
  func outputs(_ rows: Tensor, narrow: Narrow?, into memory: [Tensor]? = nil) -> [Tensor] {
    let narrow = narrow?.products
    if let together = outputsTogether(rows, narrow, memory) { return together }
    let outputs = bases.map { $0(rows) }
    guard let narrow else { return outputs }
    for update in updates {
      outputs[update.layer].addMatrixProductInPlace(
        narrow.narrowed(1, update.columns), update.factors.b.transposed(),
        scale: update.factors.fullScale)
    }
    return outputs
  }

  /// The outputs by the layers themselves, where they are of a kind that can.
  private func outputsTogether(
    _ rows: Tensor, _ narrow: Tensor?, _ memory: [Tensor]?
  ) -> [Tensor]? {
    guard let first = bases.first as? any GroupedProjection else { return nil }
    var terms = [NarrowTerm?](repeating: nil, count: bases.count)
    if let narrow {
      for update in updates {
        terms[update.layer] = NarrowTerm(
          rows: narrow, columns: update.columns, factor: update.factors.b.detached().transposed(),
          scale: update.factors.fullScale)
      }
    }
    return first.outputs(rows, of: bases, adding: terms, into: memory)
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
    _ gradients: [Tensor?], narrow: Narrow?, needsInput: Bool, rows: () -> Tensor
  ) -> (input: Tensor?, trained: [Tensor?]) {
    guard stacked != nil, let narrow else {
      return (needsInput ? inputGradient(gradients, parts: [], seen: []) : nil, [])
    }
    // s g B of every layer, beside each other: what passes back through A.
    var parts: [Tensor] = []  // [N, rank]
    var own: [Tensor?] = []
    for update in updates {
      let factors = update.factors
      guard let gradient = gradients[update.layer] else {
        own += [nil, nil]
        parts.append(narrow.products.narrowed(1, update.columns).zerosLike())
        continue
      }
      parts.append(gradient.pulledBack(throughB: factors.b, scale: factors.fullScale))
      let ofB =
        factors.b.requiresGradient
        ? gradient.gradientOfB(
          narrow: narrow.products.narrowed(1, update.columns), scale: factors.fullScale) : nil
      own += [nil, ofB]
    }
    let input =
      needsInput ? inputGradient(gradients, parts: parts, seen: narrow.seen) : nil
    if updates.contains(where: { $0.factors.a.requiresGradient }) {
      let rows = rows()
      for (place, gradient) in gradientsOfA(parts, seen: narrow.seen, rows).enumerated()
      where updates[place].factors.a.requiresGradient && gradients[updates[place].layer] != nil {
        own[2 * place] = gradient
      }
    }
    return (input, own)
  }

  /// The gradient of each A, from what passes back through it.
  private func gradientsOfA(_ parts: [Tensor], seen: [Tensor?], _ rows: Tensor) -> [Tensor] {
    if seen.contains(where: { $0 != nil }) {
      return zip(parts, seen).map { part, seen in
        part.transposed().linear((seen.map { rows * $0 } ?? rows).transposed())
      }
    }
    let all = Tensor.joined(parts).transposed().linear(rows.transposed())  // [sum of ranks, in]
    return updates.map { all.narrowed(0, $0.columns) }
  }

  /// The sum of g_i W_i, and what `parts` pass back through A, where an update saw x.
  private func inputGradient(
    _ gradients: [Tensor?], parts: [Tensor], seen: [Tensor?]
  ) -> Tensor? {
    guard gradients.contains(where: { $0 != nil }) else { return nil }
    guard !seen.contains(where: { $0 != nil }) else {
      let input = ofBases(gradients, inner: nil)
      for ((update, part), seen) in zip(zip(updates, parts), seen) {
        let own = part.linear(update.factors.a.detached().transposed())
        input?.addInPlace(seen.map { own * $0 } ?? own)
      }
      return input
    }
    return ofBases(gradients, inner: parts.isEmpty ? nil : .joined(parts))
  }

  /// The sum of g_i W_i, and `inner` times every A.
  private func ofBases(_ gradients: [Tensor?], inner: Tensor?) -> Tensor? {
    if let first = bases.first as? any GroupedProjection {
      let term = inner.flatMap { inner in
        stacked.map {
          NarrowTerm(
            rows: inner.contiguous(), columns: 0..<inner.size(1),
            factor: $0.detached())
        }
      }
      if let together = first.pulledBack(gradients, of: bases, adding: term) { return together }
    }
    var input: Tensor?
    for (base, gradient) in zip(bases, gradients) {
      guard let gradient else { continue }
      input = input.map { base.pulledBack(gradient, addedTo: $0) } ?? base.pulledBack(gradient)
    }
    if let input, let inner, let stacked { input.addMatrixProductInPlace(inner, stacked) }
    return input
  }
}

extension Tensor {
  /// Which elements an update sees, bool of this shape: the draws of ``dropout(_:generator:)``.
  fileprivate func kept(_ factors: LowRankTerm) -> Tensor {
    randomMask(keeping: 1 - factors.dropout, generator: factors.generator)
  }

  /// Columns beside each other.
  fileprivate static func joined(_ parts: [Tensor]) -> Tensor {
    parts.count == 1 ? parts[0] : concatenated(parts, dimension: 1)
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
