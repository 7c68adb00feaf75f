// Times the randomised against the exact singular value decomposition, both in float32, and prints one
// JSON object. The errors come first: a fast answer that is wrong is worth nothing.
//
//   DecompositionBenchmark [SIZE] [RANK]      4096 and 64 unless said otherwise
import Adapters
import Foundation
import Tensors

let numbers = CommandLine.arguments.dropFirst().compactMap { Int($0) }
let size = numbers.first ?? 4096
let rank = numbers.dropFirst().first ?? 64

/// Milliseconds that `body` takes, and what it returns.
func time<Result>(_ body: () throws -> Result) rethrows -> (milliseconds: Double, result: Result) {
  let start = DispatchTime.now().uptimeNanoseconds
  let result = try body()
  return (Double(DispatchTime.now().uptimeNanoseconds - start) * 1e-6, result)
}

/// Orthonormal columns.
func orthonormal(seed: UInt64) -> Tensor {
  Tensor.randomNormal([size, size], generator: Generator(seed: seed)).qrDecomposition().q
}

/// ||A - L R|| in the Frobenius norm.
func distance(_ matrix: Tensor, _ left: Tensor, _ right: Tensor) -> Double {
  (matrix - left.matrixProduct(right)).to(.float64).norm().item()
}

/// Both decompositions of one matrix.
func compare(_ name: String, _ matrix: Tensor) throws -> String {
  // The first product starts the library's threads.
  withExtendedLifetime(matrix.narrowed(0, 0..<64).matrixProduct(matrix)) {}
  var runs: [(milliseconds: Double, result: SingularValueDecomposition)] = []
  for seed in 0..<5 as Range<UInt64> {
    var options = RandomizedOptions()
    options.seed = seed
    runs.append(
      try time { try SingularValueDecomposition(randomized: matrix, rank: rank, options: options) })
  }
  let exact = time { matrix.singularValueDecomposition() }
  let best = distance(
    matrix, exact.result.u.narrowed(1, 0..<rank) * exact.result.s.narrowed(0, 0..<rank),
    exact.result.vt.narrowed(0, 0..<rank))
  let errors = runs.map { run in
    let (left, right) = run.result.balancedFactors(rank: rank)
    return distance(matrix, left, right)
  }
  let told = runs.map { $0.result.error(atRank: rank) }
  let worst = errors.max().map { $0 / best } ?? .infinity
  let untrue = zip(errors, told).map { abs($0 / $1 - 1) }.max() ?? .infinity
  let median = runs.map(\.milliseconds).sorted()[runs.count / 2]
  return "{\"matrix\": \"\(name)\", \"exact_milliseconds\": \(exact.milliseconds), "
    + "\"randomized_milliseconds\": \(median), \"error_ratio\": \(worst), "
    + "\"told_error_off\": \(untrue)}"
}

let rows = try withoutGradients {
  let values = (Tensor.arange(1, size + 1, dtype: .float32).logarithm() * -0.8).exponential()
  let falling = (orthonormal(seed: 1) * values.unsqueezed(0))
    .matrixProduct(orthonormal(seed: 2).transposed())
  let noise = Tensor.randomNormal([size, size], generator: Generator(seed: 3))
  return [
    try compare("singular values falling as i^-0.8", falling), try compare("Gaussian noise", noise),
  ]
}
print("{\"size\": \(size), \"rank\": \(rank), \"rows\": [\(rows.joined(separator: ", "))]}")
