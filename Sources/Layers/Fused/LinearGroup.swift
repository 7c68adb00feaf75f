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
        return Narrow(products: rows.narrowProduct(stacked), seen: seen)
      }
      let products = zip(updates, seen).map { update, seen in
        (seen.map { rows * $0 } ?? rows).narrowProduct(update.factors.a)
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
    _ gradients: [Tensor?], narrow: Narrow?, needsInput: Bool, rows: () -> RowSource
  ) -> (input: Tensor?, trained: [Tensor?]) {
    guard let stacked, let narrow else {
      return (needsInput ? ofBases(gradients, term: nil) : nil, [])
    }
    // s g B of every layer, beside each other: what passes back through A.
    let inner = Tensor.empty([narrow.products.size(0), stacked.size(0)], dtype: .float32)
    var own = [Tensor?](repeating: nil, count: 2 * updates.count)
    let roundings = needsInput ? gradientRoundings(gradients) : nil
    var coded = [CodedRows?](repeating: nil, count: bases.count)
    for (place, update) in updates.enumerated() {
      let (factors, target) = (update.factors, RowPass.Columns(inner, update.columns))
      guard let gradient = gradients[update.layer] else {
        target.tensor.fillInPlace(0)
        continue
      }
      (_, own[2 * place + 1], coded[update.layer]) = gradient.narrowGradients(
        b: factors.b, narrow: RowPass.Columns(narrow.products, update.columns),
        scale: factors.fullScale, needsB: factors.b.requiresGradient,
        rounding: roundings?[update.layer]?.columnFactors, into: target)
    }
    let input =
      needsInput
      ? inputGradient(gradients, inner: inner, seen: narrow.seen) {
        ofCodes(coded, roundings, gradients, adding: $0)
      } : nil
    if updates.contains(where: { $0.factors.a.requiresGradient }) {
      let rows = rows()
      for (place, gradient) in gradientsOfA(inner, seen: narrow.seen, rows).enumerated()
      where updates[place].factors.a.requiresGradient && gradients[updates[place].layer] != nil {
        own[2 * place] = gradient
      }
    }
    return (input, own)
  }

  /// The gradient of each A, from what passes back through it.
  private func gradientsOfA(_ inner: Tensor, seen: [Tensor?], _ rows: RowSource) -> [Tensor] {
    if seen.contains(where: { $0 != nil }) {
      let rows = rows.tensor
      return zip(updates, seen).map { update, seen in
        (seen.map { rows * $0 } ?? rows).summed(times: inner.narrowed(1, update.columns))
      }
    }
    let all = rows.summed(times: inner)  // [sum of ranks, in]
    return updates.map { all.narrowed(0, $0.columns) }
  }

  /// How the gradient of each layer is rounded; nil where not all that have one say so, or no pass over
  /// their rows could do it.
  private func gradientRoundings(_ gradients: [Tensor?]) -> [GradientRounding?]? {
    guard RowPass.isAvailable else { return nil }
    var found: [GradientRounding?] = []
    for (base, gradient) in zip(bases, gradients) {
      let rounding =
        gradient == nil ? nil : (base as? any GroupedProjection)?.gradientRounding()
      guard gradient == nil || rounding != nil else { return nil }
      found.append(rounding)
    }
    return found
  }

  /// The sum of g_i W_i, and what `inner` passes back through A, where an update saw x.
  private func inputGradient(
    _ gradients: [Tensor?], inner: Tensor, seen: [Tensor?], ofCodes: (NarrowTerm?) -> Tensor?
  ) -> Tensor? {
    guard gradients.contains(where: { $0 != nil }) else { return nil }
    guard seen.contains(where: { $0 != nil }) else {
      let term = stacked.map {
        NarrowTerm(rows: inner, columns: 0..<inner.size(1), factor: $0.detached())
      }
      return ofCodes(term) ?? ofBases(gradients, term: term)
    }
    let input = ofCodes(nil) ?? ofBases(gradients, term: nil)
    for (update, seen) in zip(updates, seen) {
      let part = inner.narrowed(1, update.columns)
      let own = part.linear(update.factors.a.detached().transposed())
      input?.addInPlace(seen.map { own * $0 } ?? own)
    }
    return input
  }

  /// The sum of g_i W_i in whole numbers, and a term; nil where gradients are not rounded.
  private func ofCodes(
    _ coded: [CodedRows?], _ roundings: [GradientRounding?]?, _ gradients: [Tensor?],
    adding term: NarrowTerm?
  ) -> Tensor? {
    guard let roundings else { return nil }
    var (sum, rest) = (Tensor?.none, term)
    for ((coded, rounding), gradient) in zip(zip(coded, roundings), gradients) {
      guard let rounding, let gradient,
        // A layer without an update, or with a wide one, is rounded here.
        let rows = coded ?? gradient.rounded(columnFactors: rounding.columnFactors)
      else { continue }
      (sum, rest) = (rounding.pulledBack(rows, adding: rest, to: sum), nil)
    }
    return sum
  }

  /// The sum of g_i W_i, and a term.
  private func ofBases(_ gradients: [Tensor?], term: NarrowTerm?) -> Tensor? {
    if let first = bases.first as? any GroupedProjection,
      let together = first.pulledBack(gradients, of: bases, adding: term)
    {
      return together
    }
    var input: Tensor?
    for (base, gradient) in zip(bases, gradients) {
      guard let gradient else { continue }
      input = input.map { base.pulledBack(gradient, addedTo: $0) } ?? base.pulledBack(gradient)
    }
    if let input, let term { input.addMatrixProductInPlace(term.rows, term.factor) }
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
