import Layers
import Tensors

/// A layer's weight by its leading singular vectors, and its outputs in groups.
struct AdamssSubspaces {
  /// Left singular vectors, float32 `[out, rank]`.
  let left: Tensor
  /// Right ones as rows, float32 `[rank, in]`, or `[rank, in + 1]` of a layer with a bias.
  let right: Tensor
  /// Outputs of each group, ascending.
  let groups: [[Int]]

  /// Decomposes a layer as PEFT 0.21.2 does, with the same random numbers.
  init(_ base: any LinearProjection, _ configuration: AdamssConfig) {
    let weight = base.denseWeight().detached().to(.float32)
    let bias = base.bias?.value.detached().to(.float32).unsqueezed(1)
    let matrix = bias.map { .concatenated([weight, $0], dimension: 1) } ?? weight
    let rank = Self.rank(base, configuration)
    let isWide = matrix.size(0) < matrix.size(1)
    let (u, _, vt) = withoutGradients {
      (isWide ? matrix.transposed() : matrix).randomizedSingularValueDecomposition(
        rank: rank, oversampling: 0, iterations: 2,
        generator: Generator(seed: UInt64(configuration.randomSeed)))
    }
    (left, right) = isWide ? (vt.transposed(), u.transposed()) : (u, vt)
    let labels = withoutGradients { [left] in
      KMeans.labels(of: left, count: Self.count(base, configuration), seed: 123_456_789)
    }
    var groups = [[Int]](repeating: [], count: Self.count(base, configuration))
    for (output, label) in labels.enumerated() { groups[label].append(output) }
    self.groups = groups
  }

  /// Singular vectors of a layer.
  static func rank(_ base: any LinearProjection, _ configuration: AdamssConfig) -> Int {
    min(configuration.rank, base.outputSize, base.inputSize + (base.bias == nil ? 0 : 1))
  }

  /// Groups of a layer.
  static func count(_ base: any LinearProjection, _ configuration: AdamssConfig) -> Int {
    min(configuration.subspaceCount, base.outputSize)
  }

  /// Where A of a group starts: `[k, rank]`, orthonormal rows.
  func start(ofGroup index: Int, _ configuration: AdamssConfig) -> Tensor {
    let rows = left.selecting(0, Tensor(groups[index]).to(device: left.device))
    let (_, s, vt) = withoutGradients { rows.singularValueDecomposition() }
    var rank = min(groups[index].count, configuration.subspaceRank)
    if configuration.usesDynamicRank {
      let energies = (s * s).array(of: Double.self)
      rank = min(rank, max(1, energies.count { $0 > configuration.threshold * energies[0] }))
    }
    return vt.narrowed(0, 0..<rank).contiguous()
  }

  /// The outputs, group by group, int64 `[out]`.
  var order: Tensor { Tensor(groups.flatMap { $0 }) }
}
