import Adapters
import Tensors
import TestSupport
import Testing

@Suite struct DecompositionTests {
  private static func random(_ rows: Int, _ columns: Int, seed: UInt64 = 3) -> Tensor {
    Tensor.randomNormal([rows, columns], dtype: .float64, generator: Generator(seed: seed))
  }

  /// A matrix with the singular values that it is given.
  private static func matrix(_ rows: Int, _ columns: Int, _ values: [Double]) -> Tensor {
    let u = random(rows, values.count, seed: 5).qrDecomposition().q
    let v = random(columns, values.count, seed: 6).qrDecomposition().q
    return (u * Tensor(values).unsqueezed(0)).matrixProduct(v.transposed())
  }

  private func distance(_ left: Tensor, _ right: Tensor) -> Double {
    (left - right).norm().item()
  }

  @Test(arguments: [(12, 7), (7, 12)]) func exactOnesAreThoseThatWereBuiltIn(
    _ rows: Int, _ columns: Int
  ) throws {
    let values = [9.0, 4, 1, 0.25, 1e-3, 1e-6]
    let matrix = Self.matrix(rows, columns, values)
    let found = try SingularValueDecomposition(matrix)
    for (actual, expected) in zip(found.values, values) {
      #expect(abs(actual - expected) < 1e-9 * expected + 1e-14)
    }
    for rank in 1...6 {
      let error = distance(matrix, found.matrix(rank: rank))
      let best = values.dropFirst(rank).reduce(0) { $0 + $1 * $1 }.squareRoot()
      #expect(abs(error - best) < 1e-12 && abs(found.error(atRank: rank) - best) < 1e-12)
      let (left, right) = found.balancedFactors(rank: rank)
      #expect(distance(left.matrixProduct(right), found.matrix(rank: rank)) < 1e-12)
    }
    // 81 + 16 of 98.0625 is 98.9 %.
    #expect(found.rank(retaining: 0.98) == 2 && found.rank(retaining: 0.99) == 3)
    #expect(found.rank(retaining: 0.8) == 1)
    #expect(try #require(found.rank(retaining: 1)) <= 6)
  }

  @Test func ofAProductThatIsNotFormed() throws {
    for (rows, columns, rank) in [(20, 15, 4), (5, 30, 8), (6, 4, 10)] {
      let (left, right) = (Self.random(rows, rank), Self.random(rank, columns, seed: 8))
      let whole = try SingularValueDecomposition(left.matrixProduct(right) * -0.5)
      let found = try SingularValueDecomposition(left: left, right: right, scale: -0.5)
      let count = min(rows, columns, rank)
      #expect(found.values.count == count)
      for (actual, expected) in zip(found.values, whole.values) {
        #expect(abs(actual - expected) < 1e-12 * whole.values[0])
      }
      #expect(
        distance(found.matrix(rank: count), left.matrixProduct(right) * -0.5) < 1e-12)
    }
  }

  @Test func randomisedErrorIsWhatItSays() throws {
    let values = (0..<60).map { 1 / Double(1 + $0) }
    let matrix = Self.matrix(90, 70, values)
    var options = RandomizedOptions()
    options.isWide = true
    let best = values.dropFirst(10).reduce(0) { $0 + $1 * $1 }.squareRoot()
    var bounds: [Double] = []
    for iterations in [0, 1, 4] {
      options.iterations = iterations
      let found = try SingularValueDecomposition(randomized: matrix, rank: 10, options: options)
      let error = distance(matrix, found.matrix(rank: 10))
      #expect(abs(found.error(atRank: 10) - error) < 1e-8)
      #expect(error >= best - 1e-12)
      let rest = try SingularValueDecomposition(matrix - found.matrix(rank: 10))
      let bound = try #require(found.spectralBound)
      #expect(bound >= rest.values[0])
      bounds.append(bound)
      if iterations == 4 { #expect(error < best * 1.0001) }
    }
    // Probes see the rest's whole norm at most.
    #expect(bounds[2] < 20 * best)
    // The same seed gives the same numbers, another one others.
    let again = try SingularValueDecomposition(randomized: matrix, rank: 10, options: options)
    options.seed = 1
    let other = try SingularValueDecomposition(randomized: matrix, rank: 10, options: options)
    options.seed = 0
    let first = try SingularValueDecomposition(randomized: matrix, rank: 10, options: options)
    #expect(again.u.isEqual(to: first.u) && !again.u.isEqual(to: other.u))
  }

  @Test func randomisedOnesDoNotClaimWhatTheyDoNotKnow() throws {
    let matrix = Self.matrix(40, 40, [Double](repeating: 1, count: 40))
    let found = try SingularValueDecomposition(randomized: matrix, rank: 10)
    #expect(found.rank(retaining: 0.9) == nil)
    #expect(found.rank(retaining: 0.2) == 8)
    #expect(abs(found.lostShare(atRank: 10) - 0.75) < 1e-5)
  }

  @Test func symmetricEigenvectorsCutAsSingularVectors() throws {
    let half = Self.random(9, 9)
    let matrix = half + half.transposed()
    let found = try EigenDecomposition(symmetric: matrix)
    let exact = try SingularValueDecomposition(matrix)
    #expect(found.values.allSatisfy { $0.imaginary == 0 })
    #expect(found.values.contains { $0.real < 0 })
    for rank in 1...9 {
      #expect(abs(found.error(atRank: rank) - exact.error(atRank: rank)) < 1e-11)
    }
    #expect(throws: DecompositionError.self) { try EigenDecomposition(symmetric: half) }
  }

  @Test func complexEigenvaluesComeInPairsAndGiveRealMatrices() throws {
    let matrix = Self.random(8, 8, seed: 12)
    let found = try EigenDecomposition(matrix)
    #expect(found.values.contains { $0.imaginary != 0 })
    let sizes = found.values.map { ($0.real * $0.real + $0.imaginary * $0.imaginary).squareRoot() }
    #expect(zip(sizes, sizes.dropFirst()).allSatisfy { $0 >= $1 - 1e-12 })
    #expect(distance(found.matrix(rank: 8), matrix) < 1e-10)
    let exact = try SingularValueDecomposition(matrix)
    for rank in 1...8 {
      let kept = found.kept(atRank: rank)
      #expect(kept == rank || kept == rank - 1)
      let part = found.matrix(rank: rank)
      #expect(part.dtype == .float64)
      // The part has those eigenvalues and no others: powers of it are the sums of theirs.
      var trace = 0.0
      var square = 0.0
      for value in found.values.prefix(kept) {
        trace += value.real
        square += value.real * value.real - value.imaginary * value.imaginary
      }
      #expect(abs(part.diagonal().sum().item() - trace) < 1e-10)
      #expect(abs(part.matrixProduct(part).diagonal().sum().item() - square) < 1e-9)
      // No better than singular values of that rank.
      #expect(found.error(atRank: rank) >= exact.error(atRank: kept) - 1e-10)
    }
  }

  @Test func whatHasNoEigenvectorsSaysSo() throws {
    do {
      _ = try EigenDecomposition(Self.random(3, 4))
      Issue.record("a rectangular matrix has eigenvectors")
    } catch DecompositionError.notSquare(_, let shape) {
      #expect(shape == [3, 4])
      let text = "\(DecompositionError.notSquare(what: "w", shape: shape))"
      #expect(text.contains("rectangular") && text.contains("singular values"))
    }
    let defective = Tensor([1, 1, 0, 1] as [Double], shape: [2, 2])
    #expect(throws: DecompositionError.self) { try EigenDecomposition(defective) }
    // A rotation has complex ones only, and no part of rank one.
    let rotation = try EigenDecomposition(Tensor([0, -1, 1, 0] as [Double], shape: [2, 2]))
    #expect(rotation.kept(atRank: 1) == 0 && rotation.kept(atRank: 2) == 2)
  }

  @Test func triangularFactorsAreUnique() throws {
    for (rows, columns) in [(7, 4), (4, 7)] {
      let matrix = Self.random(rows, columns)
      let found = try OrthogonalTriangular(matrix)
      #expect(found.r.diagonal().min().item() >= 0)
      #expect(distance(found.q.matrixProduct(found.r), matrix) < 1e-12)
      #expect(found.r.isEqual(to: found.r.upperTriangle()))
      for rank in 1...4 {
        #expect(
          abs(found.error(atRank: rank) - distance(matrix, found.matrix(rank: rank))) < 1e-11)
      }
    }
  }

  @Test(arguments: [Double.nan, .infinity, 1e200]) func badNumbersAreNamed(_ bad: Double) throws {
    var elements = [Double](repeating: 1, count: 12)
    elements[5] = bad
    let matrix = Tensor(elements, shape: [3, 4])
    func refuses(_ body: () throws -> Void) {
      do {
        try body()
        Issue.record("accepted")
      } catch DecompositionError.notFinite(let what) {
        #expect(what == "q_proj")
      } catch {
        Issue.record("\(error)")
      }
    }
    refuses { _ = try SingularValueDecomposition(matrix, name: "q_proj") }
    refuses { _ = try SingularValueDecomposition(randomized: matrix, rank: 1, name: "q_proj") }
    refuses {
      _ = try SingularValueDecomposition(left: matrix.transposed(), right: matrix, name: "q_proj")
    }
    let square = Tensor([1, 1, 1, bad], shape: [2, 2])
    refuses { _ = try EigenDecomposition(square, name: "q_proj") }
    refuses { _ = try EigenDecomposition(symmetric: square, name: "q_proj") }
    if !bad.isFinite { refuses { _ = try OrthogonalTriangular(matrix, name: "q_proj") } }
  }

  @Test func shapesAndRanksAreChecked() throws {
    let cube = Tensor.ones([2, 2, 2])
    for body in [
      { _ = try SingularValueDecomposition(cube) }, { _ = try OrthogonalTriangular(cube) },
      { _ = try EigenDecomposition(cube) },
      { _ = try SingularValueDecomposition(Tensor.ones([0, 3])) },
    ] as [() throws -> Void] {
      #expect(throws: DecompositionError.self) { try body() }
    }
    for rank in [0, -1, 4] {
      #expect(throws: DecompositionError.self) {
        try SingularValueDecomposition(randomized: Self.random(3, 5), rank: rank)
      }
    }
    // Half precision is decomposed as the numbers it stands for.
    let half = Self.random(6, 5).to(.bfloat16)
    let found = try SingularValueDecomposition(half)
    #expect(found.u.dtype == .float64)
    #expect(distance(found.matrix(rank: 5), half.to(.float64)) < 1e-12)
    #expect(try SingularValueDecomposition(Tensor.zeros([3, 3])).rank(retaining: 0.9) == 1)
  }

  @Test func spectraAreDescribed() throws {
    let flat = Spectrum([2, 2, 2, 2])
    #expect(abs(flat.effectiveRank - 4) < 1e-12 && abs(flat.stableRank - 4) < 1e-12)
    #expect(flat.norm == 4 && flat.energies == [0.25, 0.5, 0.75, 1])
    #expect(flat.rank(retaining: 0.5) == 2 && flat.rank(retaining: 0.51) == 3)
    let single = Spectrum([3, 0, 0])
    #expect(abs(single.effectiveRank - 1) < 1e-12 && single.numericalRank == 1)
    let none = Spectrum([0, 0])
    #expect(none.effectiveRank == 0 && none.stableRank == 0 && none.numericalRank == 0)
  }

  @Test func anglesAreThoseThatWereBuiltIn() throws {
    let q = Self.random(10, 4).qrDecomposition().q
    func turned(_ angles: [Double]) -> Tensor {
      let first = q.narrowed(1, 0..<2)
      let second = q.narrowed(1, 2..<4)
      let cosines = Tensor(angles).cosine().unsqueezed(0)
      let sines = Tensor(angles).sine().unsqueezed(0)
      return first * cosines + second * sines
    }
    for wanted in [[1e-9, 1e-3], [0.2, 1.2], [1.5, Double.pi / 2], [0, 0.9]] {
      let found = SubspaceAngles(q.narrowed(1, 0..<2), turned(wanted))
      for (actual, expected) in zip(found.angles, wanted) {
        #expect(abs(actual - expected) < 1e-12 + 1e-6 * expected, "\(found.angles)")
      }
    }
    let inside = SubspaceAngles(q.narrowed(1, 0..<3), q.narrowed(1, 1..<2))
    #expect(inside.angles.count == 1 && inside.angles[0] < 1e-12)
    #expect(abs(inside.overlap - 1) < 1e-12)
    #expect(SubspaceAngles(q.narrowed(1, 0..<2), q.narrowed(1, 2..<4)).overlap < 1e-20)
  }
}
