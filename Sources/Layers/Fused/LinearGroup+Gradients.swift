import Tensors

extension LinearGroup {
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
    let trainsA = updates.contains {
      $0.factors.a.requiresGradient && gradients[$0.layer] != nil
    }
    let roundings = needsInput ? gradientRoundings(gradients) : nil
    let source = trainsA ? rows() : nil
    var passed = passOverRows(
      gradients, narrow: narrow, inner: inner, roundings: roundings,
      source: narrow.seesAll ? source : nil)
    let input =
      needsInput
      ? inputGradient(gradients, inner: inner, seen: narrow.seen) {
        ofCodes(passed.coded, roundings, gradients, adding: $0)
      } : nil
    guard let source else { return (input, passed.trained) }
    let ofA =
      passed.ofA.map { all in updates.map { all.narrowed(0, $0.columns) } }
      ?? gradientsOfA(inner, seen: narrow.seen, source)
    for (place, update) in updates.enumerated()
    where update.factors.a.requiresGradient && gradients[update.layer] != nil {
      passed.trained[2 * place] = ofA[place]
    }
    return (input, passed.trained)
  }

  /// What a pass over the rows gave.
  private struct Passed {
    /// Of ``trained``, the B.
    var trained: [Tensor?]
    /// The gradients in codes, for each layer; nil where they are not wanted or it was not done.
    var coded: [CodedRows?]
    /// Of all A, `[sum of ranks, in]`; nil likewise.
    var ofA: Tensor?
  }

  /// Everything that low rank needs of the gradients and of the rows, a block of rows at a time.
  ///
  /// - Parameters:
  ///   - gradients: As ``gradients(_:narrow:needsInput:rows:)`` gets them.
  ///   - narrow: What the forward pass gave.
  ///   - inner: What passes back through A is written here, `[N, sum of ranks]`.
  ///   - roundings: How gradients become codes; nil for not.
  ///   - source: The rows, where one product with them gives the gradients of all A.
  /// - Returns: What was computed.
  private func passOverRows(
    _ gradients: [Tensor?], narrow: Narrow, inner: Tensor, roundings: [GradientRounding?]?,
    source: RowSource?
  ) -> Passed {
    var passed = Passed(
      trained: Array(repeating: nil, count: 2 * updates.count),
      coded: Array(repeating: nil, count: bases.count))
    var passes: [(pass: RowPass, layer: Int, place: Int?)] = []
    for (layer, gradient) in gradients.enumerated() {
      let place = updates.firstIndex { $0.layer == layer }
      let columns = place.map { updates[$0].columns } ?? 0..<0
      guard let gradient else {
        if !columns.isEmpty { _ = inner.narrowed(1, columns).fillInPlace(0) }
        continue
      }
      let factors = roundings?[layer]?.columnFactors
      guard var pass = RowPass(gradient), place != nil || factors != nil,
        columns.isEmpty || RowPass.takes(rank: columns.count)
      else {
        if let place { passed.trained[2 * place + 1] = product(gradient, place, narrow, inner) }
        continue
      }
      if let place { add(place, to: &pass, narrow, inner) }
      if let factors { pass.round(columnFactors: factors) }
      passes.append((pass, layer, place))
    }
    var all = passes.map(\.pass)
    let readsRows = source.flatMap {
      RowPass.takes(rank: inner.size(1)) ? RowPass($0) : nil
    }
    if var readsRows {
      // Behind those that write its left factor.
      readsRows.add(RowPass.Sum(left: RowPass.Columns(inner)))
      all.append(readsRows)
    }
    guard !all.isEmpty else { return passed }
    let results = RowPass.run(all, "narrow_gradients")
    for ((_, layer, place), result) in zip(passes, results) {
      passed.coded[layer] = result.coded
      if let place { passed.trained[2 * place + 1] = result.sum }
    }
    if readsRows != nil { passed.ofA = results.last?.sum }
    return passed
  }

  /// Adds what an update needs of its layer's gradient to a pass.
  private func add(_ place: Int, to pass: inout RowPass, _ narrow: Narrow, _ inner: Tensor) {
    let update = updates[place]
    pass.pullBack(
      throughB: update.factors.b, narrow: RowPass.Columns(narrow.products, update.columns),
      scale: update.factors.fullScale, needsB: update.factors.b.requiresGradient,
      into: RowPass.Columns(inner, update.columns))
  }

  /// The same without a pass; returns the gradient of B.
  private func product(
    _ gradient: Tensor, _ place: Int, _ narrow: Narrow, _ inner: Tensor
  ) -> Tensor? {
    let update = updates[place]
    return gradient.narrowGradients(
      b: update.factors.b, narrow: RowPass.Columns(narrow.products, update.columns),
      scale: update.factors.fullScale, needsB: update.factors.b.requiresGradient,
      into: RowPass.Columns(inner, update.columns)
    ).ofB
  }

  /// The gradient of each A, from what passes back through it.
  private func gradientsOfA(_ inner: Tensor, seen: [Tensor?], _ rows: RowSource) -> [Tensor] {
    guard seen.contains(where: { $0 != nil }) else {
      let all = rows.summed(times: inner)  // [sum of ranks, in]
      return updates.map { all.narrowed(0, $0.columns) }
    }
    let rows = rows.tensor
    return zip(updates, seen).map { update, seen in
      (seen.map { rows * $0 } ?? rows).summed(times: inner.narrowed(1, update.columns))
    }
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
