import CKernels
import Layers
import Tensors
import TestSupport
import Testing

/// Products and attention of few rows are those of exact arithmetic, on every instruction set.
@Suite struct FewRowsTests {
  private func normal(_ shape: [Int], _ seed: Int) -> Tensor {
    Tensor.randomNormal(shape, generator: Generator(seed: UInt64(seed)))
  }

  @Test(arguments: [
    (1, 64, 32), (2, 5, 16), (3, 7, 33), (4, 18, 100), (5, 1, 576), (7, 49, 15), (8, 192, 576),
    (9, 33, 1), (16, 130, 70), (13, 21, 257),
  ]) func productsAndLowRank(_ count: Int, _ outputs: Int, _ depth: Int) {
    let x = normal([count, depth], 1)
    let layers = (0..<3).map { index in
      let bias = index == 1 ? normal([outputs + index], 20) : nil
      return Linear(weight: normal([outputs + index, depth], 10 + index), bias: bias)
    }
    guard let group = FewRowsGroup(layers) else {
      Issue.record("no product of few rows")
      return
    }
    #expect(group.outputSizes == [outputs, outputs + 1, outputs + 2])
    withEachInstructionSet {
      let results = group.outputSizes.map { Tensor.full([count, $0], .nan, dtype: .float32) }
      group(
        FewRows(x.elements(), count: count, size: depth), into: results.map { $0.elements() })
      for (layer, result) in zip(layers, results) {
        let expected = x.to(.float64).linear(
          layer.projection.denseWeight().to(.float64),
          bias: layer.projection.bias?.value.to(.float64))
        expectClose(result.to(.float64), expected, absolute: 2e-5, relative: 1e-5)
      }
    }
  }

  /// A dense layer takes the kernel where that is preferred, and only for few rows that record nothing.
  @Test func layersThatPreferIt() {
    let layer = Linear(weight: normal([70, 130], 1), bias: normal([70], 2))
    for rows in [1, 8, FewRows.most, FewRows.most + 1] {
      let x = normal([rows, 1, 130], 3)
      let plain = layer(x)
      let found = FewRows.$arePreferred.withValue(true) { layer(x) }
      expectClose(found, plain, absolute: 2e-5, relative: 1e-5)
      #expect(found.shape == plain.shape)
      if rows > FewRows.most { #expect(found.isEqual(to: plain)) }
    }
    let x = normal([2, 130], 3)
    x.requiresGradient = true
    let gradient = FewRows.$arePreferred.withValue(true) { layer(x).sum().gradients(of: [x])[0] }
    expectClose(
      gradient ?? .zeros([1]),
      layer.projection.denseWeight().sum([0]).unsqueezed(0).expanded([2, -1]), absolute: 1e-4)
  }

  @Test(arguments: [(1, 8, 70), (4, 3, 64), (9, 20, 129)])
  func lowRank(_ count: Int, _ rank: Int, _ outputs: Int) {
    // Two layers share the narrow product: the second one's columns begin behind the first's.
    let (narrow, b) = (normal([count, rank + 2], 1), normal([rank, outputs], 2))
    let begin = normal([count, outputs], 3)
    let own = narrow.narrowed(1, 2..<rank + 2).to(.float64)
    let expected = begin.to(.float64) + own.matrixProduct(b.to(.float64)) * 1.5
    withEachInstructionSet {
      let y = begin.cloned()
      for (first, end) in [(0, outputs / 3), (outputs / 3, outputs)] {
        graft_add_low_rank(
          narrow.elements(Float.self) + 2, Int64(rank + 2), b.elements(), Int64(rank), 1.5,
          Int64(count), Int64(outputs), Int64(first), Int64(end), y.elements())
      }
      expectClose(y.to(.float64), expected, absolute: 2e-5, relative: 1e-5)
    }
  }

  @Test(arguments: [
    (1, 3, 3, 5, 64), (2, 9, 3, 37, 64), (3, 8, 1, 130, 16), (2, 5, 1, 40, 72), (1, 4, 2, 1, 128),
    (2, 6, 2, 33, 24),
  ]) func attention(_ rows: Int, _ heads: Int, _ groups: Int, _ length: Int, _ size: Int) {
    let capacity = length + 3
    let query = normal([rows, heads, size], 1)
    let (keys, values) = (
      normal([rows, groups, capacity, size], 2), normal([rows, groups, capacity, size], 3)
    )
    // The last key is always seen.
    let seen = (0..<rows * length).map { $0 % length == length - 1 || $0 % 3 != 0 }
    let mask = Tensor(seen.map { UInt8($0 ? 1 : 0) }, shape: [rows, length])
    for softcap in [0.0, 2.0] {
      for isMasked in [false, true] {
        let expected = Layers.attention(
          query: query.unsqueezed(2).to(.float64),
          key: keys.narrowed(2, 0..<length).to(.float64),
          value: values.narrowed(2, 0..<length).to(.float64),
          mask: AttentionMask(
            visible: isMasked ? (mask .!= 0).unsqueezed(1).unsqueezed(1) : nil),
          scale: 0.3, softcap: softcap == 0 ? nil : softcap)
        withEachInstructionSet {
          let result = Tensor.full([rows, heads, size], .nan, dtype: .float32)
          var work = graft_cached_attention(
            query: query.elements(), key: keys.elements(), value: values.elements(),
            visible: isMasked ? mask.elements() : nil, visible_stride: Int64(length),
            rows: Int64(rows), heads: Int64(heads), groups: Int64(groups),
            capacity: Int64(capacity), length: Int64(length), size: Int64(size), scale: 0.3,
            softcap: Float(softcap), y: result.elements())
          let workspace = Tensor.empty([Int(graft_attend_workspace(&work))], dtype: .float32)
          graft_attend(&work, 0, Int64(rows * groups), workspace.elements())
          expectClose(
            result.to(.float64), expected.squeezed(2).to(.float64), absolute: 2e-6, relative: 1e-5)
        }
      }
    }
  }

  @Test(arguments: [1, 15, 16, 100, 1024, 1025, 5000]) func largestOfRows(_ size: Int) {
    // With ties.
    var rows = normal([6, size], 4).array(of: Float.self).map { ($0 * 8).rounded() }
    for index in 0..<size { rows[index] = -.infinity }
    rows[2 * size - 1] = .infinity
    rows[2 * size + size / 2] = .nan
    rows[3 * size - 1] = .nan
    withEachInstructionSet {
      var largest = [Float](repeating: 0, count: 6)
      var places = [Int64](repeating: -1, count: 6)
      graft_row_maximum(rows, Int64(size), 0, 6, &largest, &places)
      for row in 0..<6 {
        let own = rows[row * size..<(row + 1) * size]
        let wanted = row == 2 ? Float.nan : own.max() ?? 0
        #expect(row == 2 ? largest[row].isNaN : largest[row] == wanted)
        let first = own.firstIndex { row == 2 ? $0.isNaN : $0 == wanted }.map { $0 - row * size }
        #expect(first.map(Int64.init) == places[row])
      }
    }
  }

  @Test func nothingSeenGivesZero() {
    let (query, keys) = (normal([1, 2, 16], 1), normal([1, 2, 4, 16], 2))
    let mask = Tensor([UInt8](repeating: 0, count: 4))
    let result = Tensor.full([1, 2, 16], .nan, dtype: .float32)
    var work = graft_cached_attention(
      query: query.elements(), key: keys.elements(), value: keys.elements(),
      visible: mask.elements(), visible_stride: 0, rows: 1, heads: 2, groups: 2, capacity: 4,
      length: 4, size: 16, scale: 1, softcap: 0, y: result.elements())
    let workspace = Tensor.empty([Int(graft_attend_workspace(&work))], dtype: .float32)
    graft_attend(&work, 0, 2, workspace.elements())
    expectClose(result, .zeros([1, 2, 16]), absolute: 0)
  }
}
