import Tensors
import TestSupport
import Testing

@Suite struct LinearAlgebraTests {
  static func matrix(_ rows: Int, _ columns: Int) -> Tensor {
    Tensor.randomNormal([rows, columns], dtype: .float64, generator: Generator(seed: 11))
  }

  static func diagonal(_ values: Tensor) -> Tensor {
    values.unsqueezed(-1) * Tensor.identity(values.count, dtype: values.dtype)
  }

  @Test(arguments: [(5, 5), (7, 3), (3, 7)])
  func `singular value decomposition rebuilds the matrix`(rows: Int, columns: Int) {
    let matrix = Self.matrix(rows, columns)
    let (u, s, vt) = matrix.singularValueDecomposition()
    expectClose(u.matrixProduct(Self.diagonal(s)).matrixProduct(vt), matrix)
    expectClose(u.transposed().matrixProduct(u), .identity(min(rows, columns), dtype: .float64))
    let values = s.array(of: Double.self)
    #expect(values == values.sorted(by: >))
  }

  @Test func `QR decomposition rebuilds the matrix`() {
    let matrix = Self.matrix(6, 4)
    let (q, r) = matrix.qrDecomposition()
    expectClose(q.matrixProduct(r), matrix)
    expectClose(r, r.upperTriangle())
  }

  @Test func `symmetric eigendecomposition rebuilds the matrix`() {
    let half = Self.matrix(5, 5)
    let matrix = half + half.transposed()
    let (values, vectors) = matrix.symmetricEigenDecomposition()
    expectClose(
      vectors.matrixProduct(Self.diagonal(values)).matrixProduct(vectors.transposed()), matrix)
  }

  @Test func `eigenvalues of a rotation are complex and of length one`() {
    let rotation = Tensor([0, -1, 1, 0] as [Double], shape: [2, 2])
    let (values, vectors) = rotation.eigenDecomposition()
    #expect(values.dtype == .complex128 && vectors.dtype == .complex128)
    expectClose(values.absolute(), Tensor([1, 1] as [Double]))
  }

  @Test func `randomised decomposition is exact for a matrix of low rank`() {
    let matrix = Self.matrix(40, 6).matrixProduct(Self.matrix(6, 30))
    let exact = matrix.singularValueDecomposition()
    let (u, s, vt) = matrix.randomizedSingularValueDecomposition(
      rank: 6, oversampling: 4, iterations: 2, generator: Generator(seed: 1))
    expectClose(s, exact.s.narrowed(0, 0..<6))
    expectClose(u.matrixProduct(Self.diagonal(s)).matrixProduct(vt), matrix, absolute: 1e-9)
  }

  @Test func `randomised decomposition is near the best of a decaying spectrum`() {
    let (u, _, vt) = Self.matrix(50, 50).singularValueDecomposition()
    let spectrum = (Tensor.arange(0, 50, dtype: .float64) * -0.3).exponential()
    let matrix = u.matrixProduct(Self.diagonal(spectrum)).matrixProduct(vt)
    let found = matrix.randomizedSingularValueDecomposition(
      rank: 10, oversampling: 8, iterations: 2, generator: Generator(seed: 2))
    expectClose(found.s, spectrum.narrowed(0, 0..<10), relative: 1e-4)
  }
}
