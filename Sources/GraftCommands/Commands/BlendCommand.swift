import Adapters
import CommandLineParsing
import JSONValues
import Tensors

/// `graft blend`.
enum BlendCommand: Verb {
  static let adapters = Option<String>(
    "adapter", default: nil, help: "LoRA adapter directory and its weight: DIR=0.7.",
    isRepeated: true)
  static let kind = Option<AdapterCombination.Kind>(
    "combination", default: nil,
    help: "The rule; default cat, which is exact, or with --rank svd, which is nearest.")
  static let rank = Option<Int>(
    "rank", default: nil, help: "Rank of the result, with svd and the forms with _svd.")
  static let density = Option<Double>(
    "density", default: nil, help: "Share of elements to keep, with ties, dare and prune.")
  static let majority = Option<AdapterCombination.MajoritySign>(
    "majority-sign", default: .total, help: "What elects a sign, with ties.")
  static let clamp = Option<Double>(
    "clamp", default: nil, help: "Quantile at which factors are cut off, with svd and _svd.")
  static let seed = Option<Int>("seed", default: 0, help: "Start of random numbers, with dare.")
  static let output = Option<String>("output", default: nil, help: "Adapter directory to write.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "blend", summary: "Make one adapter of several",
    options: [
      adapters, kind, rank, density, majority, clamp, seed, output, json, ModelOptions.threads,
    ])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    try arguments.require(adapters, output)
    let pairs = try arguments.values(adapters).map(pair)
    let chosen = arguments[kind] ?? (arguments[rank] == nil ? .cat : .svd)
    var combination = AdapterCombination(
      chosen, rank: arguments[rank], density: arguments[density])
    combination.majoritySign = try arguments.value(majority)
    combination.clamp = arguments[clamp]
    combination.seed = UInt64(bitPattern: Int64(try arguments.value(seed)))
    do {
      try combination.validate()
    } catch {
      throw UsageError("--\(error)")
    }
    try ModelSource.setThreads(arguments)
    let directory = try arguments.value(output)
    try RankOptions.checkFree(directory)
    let sources = try pairs.map { pair in
      (try LowRankAdapter(directory: HubNames.adapter(pair.path)), pair.weight)
    }
    let (made, layers) = try LowRankAdapter.combined(sources, combination)
    for (key, tensor) in made.tensors where !tensor.isAllFinite {
      throw DecompositionError.notFinite(what: "the result: \(key)")
    }
    try made.write(to: directory)
    let worst = layers.map(\.relativeError).max() ?? 0
    if arguments[json] {
      console.write([
        "output": .string(directory), "combination": .string(chosen.rawValue),
        "layers": .array(
          layers.map {
            [
              "path": .string($0.path), "rank": .integer($0.rank),
              "relative_error": .number($0.relativeError),
            ]
          }), "largest_relative_error": .number(worst),
      ])
      return .done
    }
    for layer in layers {
      console.write(
        "  \(layer.path): rank \(layer.rank), "
          + "\(layer.relativeError.percent) from the weighted sum\n")
    }
    console.write(
      "\(directory): \(chosen.rawValue), \(layers.count) layers, at most \(worst.percent) from the "
        + "weighted sum\n")
    return .done
  }

  private static func pair(_ text: String) throws -> (path: String, weight: Double) {
    guard let equals = text.lastIndex(of: "=") else { return (text, 1) }
    let number = text[text.index(after: equals)...]
    guard let weight = Double(number), weight.isFinite, equals > text.startIndex else {
      throw UsageError("--adapter \(text): expected DIR=WEIGHT with a number for the weight")
    }
    return (String(text[..<equals]), weight)
  }
}
