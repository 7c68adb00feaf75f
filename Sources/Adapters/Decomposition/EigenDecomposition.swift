public import Tensors

/// Eigenvalues and eigenvectors of a square matrix, largest eigenvalue by magnitude first.
///
/// Kept are the eigenvalues and two real factors whose columns and rows belong to them, so that a
/// real matrix has a real approximation: a complex eigenvalue has its conjugate beside it, and the two
/// are kept or left out together. Only a square matrix has eigenvectors; weights of most layers are
/// rectangular, and of the square ones few are normal, for which alone the approximation is as good as
/// that of singular values. So eigenvectors are a tool to look at a square layer; what is extracted
/// or cut down here goes by singular values.
public struct EigenDecomposition {
  /// Eigenvalues by descending magnitude, conjugates side by side.
  public let values: [(real: Double, imaginary: Double)]
  /// `[n, n]`, real: A = left right.
  public let left: Tensor
  /// `[n, n]`, real.
  public let right: Tensor

  private let source: Tensor

  /// Decomposes a symmetric matrix: A = V diag(values) V^T with orthonormal V.
  ///
  /// Cut after r eigenvalues it is the best approximation of rank r, as with singular values.
  ///
  /// - Parameters:
  ///   - matrix: `[n, n]`.
  ///   - name: What messages call it.
  /// - Throws: ``DecompositionError`` when it is not square, not finite, or differs across its diagonal
  ///   by more than 1e-5 of its largest element.
  public init(symmetric matrix: Tensor, name: String = "the matrix") throws(DecompositionError) {
    let a = try Self.checkedSquare(matrix, name)
    let difference = (a - a.transposed()).absolute().max().item()
    guard difference <= 1e-5 * a.absolute().max().item() else {
      throw .notSymmetric(what: name, difference: difference)
    }
    let (values, vectors) = withoutGradients {
      ((a + a.transposed()) * 0.5).symmetricEigenDecomposition()
    }
    let order = (values.absolute() * -1).sorted().indices
    let sorted = values.selecting(0, order)
    let columns = vectors.selecting(1, order)
    self.values = sorted.array(of: Double.self).map { ($0, 0) }
    left = columns * sorted.unsqueezed(0)
    right = columns.transposed().contiguous()
    source = a
  }

  /// Decomposes any square matrix that has n independent eigenvectors: A = V diag(values) V^-1.
  ///
  /// - Parameters:
  ///   - matrix: `[n, n]`.
  ///   - name: What messages call it.
  /// - Throws: ``DecompositionError`` when it is not square, not finite, or cannot be rebuilt from its
  ///   eigenvectors to 1e-6.
  public init(_ matrix: Tensor, name: String = "the matrix") throws(DecompositionError) {
    let a = try Self.checkedSquare(matrix, name)
    let (values, vectors) = withoutGradients { a.eigenDecomposition() }
    let (real, imaginary) = (
      values.realPart().array(of: Double.self), values.imaginaryPart().array(of: Double.self)
    )
    let order = Self.order(real, imaginary)
    self.values = order.map { (real[$0], imaginary[$0]) }
    let (left, right) = try Self.realFactors(a, vectors, real, imaginary, order, name)
    (self.left, self.right, source) = (left, right, a)
    let error = (left.matrixProduct(right) - a).norm().item() / max(a.norm().item(), 1e-300)
    guard error <= 1e-6 else { throw .notDiagonalizable(what: name, error: error) }
  }

  /// The number of eigenvalues that are kept at a rank: one less where a conjugate pair would be
  /// divided.
  ///
  /// - Parameter rank: Eigenvalues wanted, at least 0.
  /// - Returns: At most `rank`.
  public func kept(atRank rank: Int) -> Int {
    let rank = min(max(rank, 0), values.count)
    var index = 0
    while index < rank {
      let width = values[index].imaginary == 0 ? 1 : 2
      guard index + width <= rank else { return index }
      index += width
    }
    return rank
  }

  /// The part of the matrix that belongs to the largest eigenvalues.
  ///
  /// - Parameter rank: How many at most.
  /// - Returns: `[n, n]`, real.
  public func matrix(rank: Int) -> Tensor {
    let count = kept(atRank: rank)
    return left.narrowed(1, 0..<count).matrixProduct(right.narrowed(0, 0..<count))
  }

  /// ||A - matrix(rank)|| in the Frobenius norm.
  ///
  /// - Parameter rank: How many eigenvalues at most.
  /// - Returns: The error; for a matrix that is not normal more than that of singular values, and
  ///   possibly more than ||A||.
  public func error(atRank rank: Int) -> Double { (source - matrix(rank: rank)).norm().item() }

  private static func checkedSquare(
    _ matrix: Tensor, _ name: String
  ) throws(DecompositionError) -> Tensor {
    if matrix.rank == 2, matrix.size(0) != matrix.size(1) {
      throw .notSquare(what: name, shape: matrix.shape)
    }
    // LAPACK has no general eigenvectors on other devices.
    let a = try checkedMatrix(matrix, name).to(device: .cpu).widest
    guard a.energy.isFinite else { throw .notFinite(what: name) }
    return a
  }

  /// Descending magnitude; a pair is one entry, the positive imaginary part first.
  private static func order(_ real: [Double], _ imaginary: [Double]) -> [Int] {
    // LAPACK gives conjugates side by side, the positive imaginary part first.
    var groups: [[Int]] = []
    var index = 0
    while index < real.count {
      groups.append(imaginary[index] == 0 ? [index] : [index, index + 1])
      index += groups[groups.count - 1].count
    }
    func size(_ group: [Int]) -> Double {
      (real[group[0]] * real[group[0]] + imaginary[group[0]] * imaginary[group[0]]).squareRoot()
    }
    return groups.sorted { size($0) > size($1) }.flatMap { $0 }
  }

  /// With v = x + iy, w its row of V^-1 and c its eigenvalue, a pair adds 2 Re(c v w), which is
  /// 2 Re(c v) Re(w) - 2 Im(c v) Im(w).
  private static func realFactors(
    _ a: Tensor, _ vectors: Tensor, _ real: [Double], _ imaginary: [Double], _ order: [Int],
    _ name: String
  ) throws(DecompositionError) -> (left: Tensor, right: Tensor) {
    let (x, y) = (vectors.realPart(), vectors.imaginaryPart())
    var (basis, scaled): ([Tensor], [Tensor]) = ([], [])
    var isSecond = false
    for index in order {
      if imaginary[index] == 0 {
        basis.append(x.narrowed(1, index..<index + 1))
        scaled.append(basis[basis.count - 1] * real[index])
        continue
      }
      if !isSecond {
        let (u, v) = (x.narrowed(1, index..<index + 1), y.narrowed(1, index..<index + 1))
        // A [u v] = [u v] [[re, im], [-im, re]].
        basis += [u, v]
        scaled += [
          u * real[index] - v * imaginary[index], u * imaginary[index] + v * real[index],
        ]
      }
      isSecond.toggle()
    }
    let columns = Tensor.concatenated(basis, dimension: 1)
    let rank = columns.singularValueDecomposition().s.array(of: Double.self)
    guard let largest = rank.first, let smallest = rank.last, smallest > 1e-13 * largest else {
      throw .notDiagonalizable(what: name, error: 1)
    }
    return (Tensor.concatenated(scaled, dimension: 1), columns.inverse())
  }
}
