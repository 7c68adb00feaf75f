import CKernels
import Layers
import Tensors

/// The attention of a block for one new position of each row.
struct AttentionStep {
  private let projections: FewRowsGroup
  private let isJoined: Bool
  private let output: FewRowsGroup
  private let queryNorm: StepNorm?
  private let keyNorm: StepNorm?
  private let configuration: DecoderConfiguration

  init?(_ attention: DecoderAttention) {
    guard attention.extensions.isEmpty else { return nil }
    let layers: [Linear] =
      switch attention.projections {
      case .separate(let query, let key, let value): [query, key, value]
      case .fused(let all): [all]
      }
    guard let projections = FewRowsGroup(layers), let output = FewRowsGroup([attention.output])
    else { return nil }
    self.projections = projections
    isJoined = layers.count == 1
    self.output = output
    configuration = attention.configuration
    let (wide, narrow) = (
      configuration.headCount * configuration.headSize,
      configuration.keyValueHeadCount * configuration.headSize
    )
    guard projections.outputSizes == (isJoined ? [wide + 2 * narrow] : [wide, narrow, narrow]),
      output.outputSizes == [configuration.hiddenSize]
    else { return nil }
    let hasNorms = configuration.queryKeyNorm != .none
    queryNorm = hasNorms ? attention.queryNorm.map(StepNorm.init) : nil
    keyNorm = hasNorms ? attention.keyNorm.map(StepNorm.init) : nil
  }

  func callAsFunction(
    _ x: Tensor, _ b: StepBuffers, _ position: StepPosition, layer: Int, into result: Tensor
  ) {
    let c = configuration
    let rows = FewRows(x.elements(), count: b.rows, size: x.count / b.rows)
    if isJoined {
      projections(rows, into: [b.joined.elements()])
      let parts = [b.query, b.key, b.value]
      b.split(widths: parts.map { $0.size(1) }, into: parts)
    } else {
      projections(rows, into: [b.query.elements(), b.key.elements(), b.value.elements()])
    }
    normalize(b.query, queryNorm, heads: c.headCount)
    normalize(b.key, keyNorm, heads: c.keyValueHeadCount)
    if let rotation = position.rotation(layer: layer) {
      rotate(b.query, heads: c.headCount, rows: b.rows, rotation)
      rotate(b.key, heads: c.keyValueHeadCount, rows: b.rows, rotation)
    }
    if let growth = position.context.queryGrowth {
      b.query.multiplyInPlace(growth.reshaped([-1, 1]))
    }
    gather(b, position, layer: layer)
    output(
      FewRows(b.gathered.elements(), count: b.rows, size: b.gathered.size(1)),
      into: [result.elements()])
    withExtendedLifetime((x, result)) {}
  }

  private func normalize(_ x: Tensor, _ norm: StepNorm?, heads: Int) {
    guard let norm else { return }
    let perHead = configuration.queryKeyNorm == .perHead
    let vectors = perHead ? x.reshaped([x.size(0), heads, configuration.headSize]) : x
    norm(vectors, into: vectors)
  }

  private func rotate(
    _ x: Tensor, heads: Int, rows: Int, _ rotation: (cosine: Tensor, sine: Tensor)
  ) {
    let width = rotation.cosine.size(-1)
    let period = rotation.cosine.count / width
    graft_rotate(
      x.elements(), rotation.cosine.elements(), rotation.sine.elements(), 1, Int64(heads),
      Int64(configuration.headSize), Int64(width), Int64(period), 0, Int64(rows), x.elements())
    withExtendedLifetime((x, rotation)) {}
  }

  /// Puts the new keys and values into the cache and gathers what the queries see there.
  private func gather(_ b: StepBuffers, _ position: StepPosition, layer: Int) {
    let c = configuration
    let (groups, size) = (c.keyValueHeadCount, c.headSize)
    let shape = [b.rows, groups, 1, size]
    let room = position.cache.room(
      for: 1, layer: layer, key: shape, value: shape, dtype: .float32, device: .cpu)
    let capacity = room.keys.size(2)
    for (own, store) in [(b.key, room.keys), (b.value, room.values)] {
      let (from, to) = (own.elements(Float.self), store.elements(Float.self))
      for pair in 0..<b.rows * groups {
        (to + (pair * capacity + position.cache.length) * size)
          .update(from: from + pair * size, count: size)
      }
    }
    let visible = position.visible(layer: layer)
    let work = CachedAttention(
      graft_cached_attention(
        query: b.query.elements(), key: room.keys.elements(), value: room.values.elements(),
        visible: visible?.elements(),
        visible_stride: visible.map { $0.size(0) == 1 ? 0 : Int64(position.keyLength) } ?? 0,
        rows: Int64(b.rows), heads: Int64(c.headCount), groups: Int64(groups),
        capacity: Int64(capacity), length: Int64(position.keyLength), size: Int64(size),
        scale: Float(c.attentionScales[layer]), softcap: Float(c.attentionSoftcap ?? 0),
        y: b.gathered.elements()))
    // A thread is worth its part for some 2^15 numbers of keys and values.
    let each = 2 * position.keyLength * size
    WorkTeam.shared.run(0..<b.rows * groups, grain: max(1, (1 << 15) / each)) { work.run($0) }
    withExtendedLifetime((visible, room)) {}
  }
}

/// Attention over a cache whose pairs of a row and a head several threads do.
private struct CachedAttention: @unchecked Sendable {
  private let description: graft_cached_attention

  init(_ description: graft_cached_attention) { self.description = description }

  func run(_ range: Range<Int>) {
    withUnsafePointer(to: description) { description in
      let room = Int(graft_attend_workspace(description))
      withUnsafeTemporaryAllocation(of: Float.self, capacity: room) { workspace in
        guard let memory = workspace.baseAddress else { return }
        graft_attend(description, Int64(range.lowerBound), Int64(range.upperBound), memory)
      }
    }
  }
}
