import Tensors

/// Linear layers that read the same rows, as functions that record nothing.
///
/// Their narrow products x A^T are one product with all the A below each other, unless elements of x are
/// dropped: each update sees others then.
struct LinearGroup {
  // N rows, r rank.
  struct Update {
    let layer: Int
    let factors: LowRankTerm
    /// Its columns in the narrow product of the group.
    let columns: Range<Int>
  }

  let bases: [any LinearProjection]
  let updates: [Update]
  /// Every A below the one before, `[sum of ranks, in]`; nil where there is no update.
  let stacked: Tensor?

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

    /// Whether every update saw every element.
    var seesAll: Bool { seen.allSatisfy { $0 == nil } }
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
