import Adapters
import Checkpoints
import CommandLineParsing
import JSONValues
import Tensors

/// How a matrix is decomposed.
enum DecompositionMethod: String, CaseIterable, OptionValue {
  case svd
  case randomizedSVD = "randomized-svd"
  case eigen
  case symmetricEigen = "symmetric-eigen"
  case qr
}

/// `graft decompose`.
enum DecomposeCommand: Verb {
  static let file = Positional("FILE", help: "A safetensors file.")
  static let tensor = Option<String>("tensor", default: nil, help: "Name of the matrix in it.")
  static let method = Option<DecompositionMethod>(
    "method", default: .svd, help: "How to decompose it.")
  static let rank = Option<Int>(
    "rank", default: nil, help: "Rank of the approximation; default the smaller side.")
  static let oversampling = Option<Int>(
    "oversampling", default: 10, help: "With randomized-svd: directions beyond the rank.")
  static let iterations = Option<Int>(
    "power-iterations", default: 3, help: "With randomized-svd: refinements of the range.")
  static let wide = Flag("float64", help: "With randomized-svd: compute in float64.")
  static let seed = Option<Int>("seed", default: 0, help: "With randomized-svd.")
  static let output = Option<String>(
    "output", default: nil,
    help: "File to write: u, s, vt; or values_real, values_imaginary, left, right; or q, r.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "decompose", summary: "Singular values, eigenvalues or QR of a matrix in a file",
    options: [
      tensor, method, rank, oversampling, iterations, wide, seed, output, json,
      ModelOptions.threads,
    ], positionals: [file])

  private typealias Result = (
    error: Double, bound: Double?, kept: Int, values: [JSON],
    tensors: [(name: String, tensor: Tensor)]
  )

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    try ModelSource.setThreads(arguments)
    let source = try SafetensorsFile(path: arguments.positional(file) ?? "")
    let name = try arguments[tensor] ?? onlyName(source)
    guard let entry = source[name] else {
      throw CheckpointError.lacks(path: source.path, what: "tensor \(quoted(name))")
    }
    let matrix = try source.tensor(entry)
    let title = "\(source.path): \(name)"
    let chosen = try arguments.value(method)
    let result = try decompose(matrix, title, chosen, arguments)
    if let path = arguments[output] {
      try SafetensorsWriter.save(path, tensors: result.tensors)
    }
    let norm = matrix.to(.float64).norm().item()
    let relative = norm > 0 ? result.error / norm : 0
    if arguments[json] {
      var object = JSONObject([
        ("tensor", .string(name)), ("shape", .array(entry.shape.map(JSON.integer))),
        ("method", .string(chosen.rawValue)), ("rank", .integer(result.kept)),
        ("error", .number(result.error)), ("relative_error", .number(relative)),
        ("values", .array(result.values)),
      ])
      if let bound = result.bound { object["spectral_error_bound"] = .number(bound) }
      console.write(.object(object))
      return .done
    }
    console.write(
      "\(name) \(entry.shape): \(chosen.rawValue), rank \(result.kept), error \(relative.percent) of "
        + "its norm\n")
    if let bound = result.bound {
      console.write("  largest singular value of the rest: at most \(bound.fixed(6))\n")
    }
    console.write("  " + result.values.map { $0.serialized() }.joined(separator: " ") + "\n")
    return .done
  }

  private static func decompose(
    _ matrix: Tensor, _ title: String, _ method: DecompositionMethod, _ arguments: ParsedArguments
  ) throws -> Result {
    let full = matrix.rank == 2 ? min(matrix.size(0), matrix.size(1)) : 1
    let rank = arguments[rank] ?? full
    guard full == 0 || (1...full).contains(rank) else {
      throw UsageError("--rank is \(rank), expected 1 to \(full) for \(title)")
    }
    switch method {
    case .svd, .randomizedSVD:
      let found =
        method == .svd
        ? try SingularValueDecomposition(matrix, name: title)
        : try SingularValueDecomposition(
          randomized: matrix, rank: rank, options: try random(arguments), name: title)
      return (
        found.error(atRank: rank), found.spectralBound, rank, found.values.map(JSON.number),
        [
          ("u", found.u.narrowed(1, 0..<rank)), ("s", found.s.narrowed(0, 0..<rank)),
          ("vt", found.vt.narrowed(0, 0..<rank)),
        ]
      )
    case .eigen, .symmetricEigen:
      let found =
        method == .eigen
        ? try EigenDecomposition(matrix, name: title)
        : try EigenDecomposition(symmetric: matrix, name: title)
      let kept = found.kept(atRank: rank)
      return (
        found.error(atRank: rank), nil, kept,
        found.values.map { .array([.number($0.real), .number($0.imaginary)]) },
        [
          ("values_real", Tensor(found.values.prefix(kept).map(\.real))),
          ("values_imaginary", Tensor(found.values.prefix(kept).map(\.imaginary))),
          ("left", found.left.narrowed(1, 0..<kept)),
          ("right", found.right.narrowed(0, 0..<kept)),
        ]
      )
    case .qr:
      let found = try OrthogonalTriangular(matrix, name: title)
      return (
        found.error(atRank: rank), nil, rank,
        found.r.diagonal().array(of: Double.self).map(JSON.number),
        [("q", found.q.narrowed(1, 0..<rank)), ("r", found.r.narrowed(0, 0..<rank))]
      )
    }
  }

  private static func random(_ arguments: ParsedArguments) throws -> RandomizedOptions {
    var options = RandomizedOptions()
    options.oversampling = try arguments.value(oversampling)
    options.iterations = try arguments.value(iterations)
    options.seed = UInt64(bitPattern: Int64(try arguments.value(seed)))
    options.isWide = arguments[wide]
    return options
  }

  private static func onlyName(_ file: SafetensorsFile) throws -> String {
    guard file.entries.count == 1 else {
      throw UsageError(
        "--tensor: \(file.path) has \(file.entries.count) tensors; name one of "
          + file.entries.prefix(5).map(\.name).joined(separator: ", "))
    }
    return file.entries[0].name
  }
}
