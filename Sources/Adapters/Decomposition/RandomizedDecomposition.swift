public import Tensors

/// How a randomised decomposition looks for the range of a matrix.
public struct RandomizedOptions: Equatable, Sendable {
  /// Columns of the test matrix beyond the rank.
  public var oversampling = 10
  /// Power iterations: each lets the singular values that are not wanted count less.
  public var iterations = 3
  /// Start of the random numbers.
  public var seed: UInt64 = 0
  /// Whether to compute in float64 rather than float32.
  public var isWide = false

  /// Makes the default options.
  public init() {}
}

extension SingularValueDecomposition {
  /// Finds the leading singular values and vectors by a randomised range finder, with an estimate of
  /// what is missing.
  ///
  /// A Gaussian test matrix is multiplied by A and refined by power iterations with
  /// orthonormalisation in between; A is decomposed on the range that was found. The error in the
  /// Frobenius norm follows exactly from ||A||^2 and the singular values that were found, as the
  /// approximation is an orthogonal projection of A. The spectral norm of the rest is bounded by ten
  /// random probes of it, which fails with probability 1e-10.
  ///
  /// Source: Halko, Martinsson and Tropp 2011, arXiv 0909.4061: algorithms 4.4 and 5.1, equation 4.3.
  ///
  /// - Parameters:
  ///   - matrix: `[n, m]` of any floating-point type.
  ///   - rank: How many singular values, in `1...min(n, m)`.
  ///   - options: Oversampling, power iterations, seed and precision.
  ///   - name: What messages call it.
  /// - Throws: ``DecompositionError/notFinite(what:)``, ``DecompositionError/notAMatrix(what:shape:)``,
  ///   ``DecompositionError/outOfRange(field:expected:actual:)`` for the rank.
  /// - Complexity: O(n m (rank + oversampling) (iterations + 1)).
  public init(
    randomized matrix: Tensor, rank: Int, options: RandomizedOptions = RandomizedOptions(),
    name: String = "the matrix"
  ) throws(DecompositionError) {
    let checked = try checkedMatrix(matrix, name)
    let a = options.isWide ? checked.widest : checked.detached().to(.float32)
    let limit = min(a.size(0), a.size(1))
    guard (1...limit).contains(rank) else {
      throw .outOfRange(field: "rank", expected: "1 to \(limit) for \(name)", actual: "\(rank)")
    }
    guard options.oversampling >= 0, options.iterations >= 0 else {
      throw .outOfRange(
        field: "oversampling and iterations", expected: "0 or more",
        actual: "\(options.oversampling) and \(options.iterations)")
    }
    let energy = a.energy
    // A squared element of float32 may overflow on the way.
    guard energy.isFinite, options.isWide || energy < 1e38 else { throw .notFinite(what: name) }
    let generator = Generator(seed: options.seed)
    let found = withoutGradients {
      a.randomizedSingularValueDecomposition(
        rank: rank, oversampling: options.oversampling, iterations: options.iterations,
        generator: generator)
    }
    let bound = withoutGradients {
      let probes = Tensor.randomNormal([a.size(1), 10], dtype: a.dtype, generator: generator)
        .to(device: a.device)
      let image = a.matrixProduct(probes)
      let rest = image - found.u.matrixProduct(found.u.transposed().matrixProduct(image))
      let rounding = (a.dtype == .float32 ? 0x1p-21 : 0x1p-50) * energy.squareRoot()
      return 10 * (2 / Double.pi).squareRoot() * rest.norm([0]).max().item() + rounding
    }
    self.init(u: found.u, s: found.s, vt: found.vt, energy: energy, spectralBound: bound)
  }
}
