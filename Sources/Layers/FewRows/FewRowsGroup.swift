import CKernels
import Tensors

/// Linear layers that read the same few rows, with low rank on them, as one piece of work.
package struct FewRowsGroup {
  // N rows, r rank.
  private struct Part {
    let product: any FewRowsProduct
    let update: Update?
  }

  private struct Update {
    /// B^T, `[r, out]`.
    let b: Tensor
    let scale: Float
    /// Its first column in the narrow product of the group.
    let column: Int
  }

  private let parts: [Part]
  /// Every A below the one before; nil where there is no update.
  private let narrow: DenseFewRowsProduct?

  /// Nil where a layer has no such product.
  ///
  /// - Parameter layers: Layers of one input size. Changes of what they compute with, from now on, are
  ///   not seen.
  package init?(_ layers: [Linear]) {
    var (made, stacked): ([Part], [Tensor]) = ([], [])
    var width = 0
    for layer in layers {
      let form = layer.projection.explicitForm
      let base = form?.base ?? layer.projection
      guard let product = (base as? any FewRowsProjection)?.fewRowsProduct else { return nil }
      var update: Update?
      if let factors = form?.update {
        let tensors = [factors.a, factors.b]
        guard tensors.allSatisfy({ $0.dtype == .float32 && $0.device.kind == .cpu }) else {
          return nil
        }
        update = Update(
          b: factors.b.detached().transposed().contiguous(), scale: Float(factors.scale),
          column: width)
        width += factors.a.size(0)
        stacked.append(factors.a.detached())
      }
      made.append(Part(product: product, update: update))
    }
    parts = made
    guard !stacked.isEmpty else {
      narrow = nil
      return
    }
    narrow = DenseFewRowsProduct(
      weight: stacked.count == 1 ? stacked[0].contiguous() : .concatenated(stacked))
    if narrow == nil { return nil }
  }

  /// Sizes of the layers' outputs.
  package var outputSizes: [Int] { parts.map(\.product.outputSize) }

  /// Computes the outputs.
  ///
  /// - Parameters:
  ///   - rows: The input.
  ///   - results: Where each layer's output is to stand, `[rows.count, outputSize]`.
  package func callAsFunction(_ rows: FewRows, into results: [UnsafeMutablePointer<Float>]) {
    let width = narrow?.outputSize ?? 0
    withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, rows.count * width)) { buffer in
      guard let added = buffer.baseAddress else { return }
      if let narrow {
        FewRowsWork([(narrow.job(rows, into: added), narrow.outputSize)]).run(depth: rows.size)
      }
      let jobs = zip(parts, results).map { part, result in
        (job(part, rows, narrow: added, width, into: result), part.product.outputSize)
      }
      FewRowsWork(jobs).run(depth: rows.size)
    }
  }

  private func job(
    _ part: Part, _ rows: FewRows, narrow: UnsafePointer<Float>, _ width: Int,
    into result: UnsafeMutablePointer<Float>
  ) -> (Range<Int>) -> Void {
    let product = part.product.job(rows, into: result)
    guard let update = part.update else { return product }
    let (count, outputs) = (Int64(rows.count), Int64(part.product.outputSize))
    return { range in
      product(range)
      graft_add_low_rank(
        narrow + update.column, Int64(width), update.b.elements(), Int64(update.b.size(0)),
        update.scale, count, outputs, Int64(range.lowerBound), Int64(range.upperBound), result)
    }
  }
}

/// Products beside each other, in units of some outputs.
struct FewRowsWork: @unchecked Sendable {
  // Each range of outputs is computed by one thread, and jobs only read what they share.
  private let jobs: [((Range<Int>) -> Void, outputs: Int)]
  private static let unit = 16

  init(_ jobs: [((Range<Int>) -> Void, outputs: Int)]) { self.jobs = jobs }

  private func units(_ outputs: Int) -> Int { (outputs + Self.unit - 1) / Self.unit }

  /// Splits the outputs of all jobs, of `depth` weights each, over the threads.
  func run(depth: Int) {
    let count = jobs.reduce(0) { $0 + units($1.outputs) }
    // A thread is worth its part for some 2^15 weights.
    WorkTeam.shared.run(0..<count, grain: max(1, (1 << 15) / max(1, Self.unit * depth))) {
      run($0)
    }
  }

  private func run(_ range: Range<Int>) {
    var first = 0
    for (job, outputs) in jobs {
      let count = units(outputs)
      let own = range.clamped(to: first..<first + count)
      if !own.isEmpty {
        let begin = (own.lowerBound - first) * Self.unit
        job(begin..<min(outputs, (own.upperBound - first) * Self.unit))
      }
      first += count
    }
  }
}
