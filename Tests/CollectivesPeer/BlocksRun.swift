import Collectives
import Distributed
import Layers
import Optimizers
import Tensors

/// A block: x + W x, or for codes x + (W / 64) x with W in int8, which is looked up as it is.
private final class ToyBlock: Module {
  let weight: Parameter
  let bias: Parameter
  let codes: Tensor?
  /// Trained.
  let scale: Parameter

  init(_ number: Int, kind: String) {
    let generator = Generator(seed: UInt64(number))
    let numbers = Tensor.randomNormal([24, 24], generator: generator)
    codes = kind == "int8" ? (numbers * 20).to(.int8) : nil
    weight = Parameter(
      kind == "transposed" ? numbers.transposed() : codes == nil ? numbers : .zeros([1]))
    bias = Parameter(Tensor.randomNormal([7 + number], generator: generator))
    scale = Parameter(Tensor.full([24], 0.1))
    scale.isTrainable = true
  }

  var children: [(name: String, module: any Module)] { [] }
  var heldTensors: [Tensor] { codes.map { [$0] } ?? [] }

  func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    _ = transform("weight", weight)
    _ = transform("bias", bias)
    _ = transform("scale", scale)
  }

  /// Its frozen bytes, as they are laid out: each tensor at a multiple of 64 bytes.
  var byteCount: Int {
    [weight.value, bias.value, codes].compactMap { $0?.byteCount }
      .reduce(0) { $0 + ($1 + 63) / 64 * 64 }
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    let matrix = codes.map { $0.to(.float32) / 64 } ?? weight.value
    return x + (x.linear(matrix) * scale.value + bias.value.sum()).tanh()
  }
}

/// A table in front of the blocks or behind them.
private final class ToyTable: Module {
  let weight: Parameter

  init(_ weight: Parameter) { self.weight = weight }

  var children: [(name: String, module: any Module)] { [] }

  func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    _ = transform("weight", weight)
  }

  var byteCount: Int { (weight.value.byteCount + 63) / 64 * 64 }
}

/// Passes forth and back over five blocks whose frozen numbers processes share out, with a table of rows in
/// front of them and a head behind, which of the kind "tied" is the same table.
///
/// The first line tells the bits of output and gradients; the second one bytes of blocks that this process
/// keeps, and N times that by the formula; the third one bytes sent in a pass forth and back, and the
/// formula's B (N - 1) / N for each time that something is brought: table, five blocks and head forth, four
/// blocks back, as head and last block are still there.
func blocksRun(_ processes: ProcessGroup?, kind: String) throws -> String {
  let blocks = (0..<5).map { ToyBlock($0, kind: kind) }
  // Of the kind "tied" all are sent in pieces, the last one a smaller one.
  let sharded = processes.map {
    ShardedBlocks($0, pieceByteCount: kind == "tied" ? 100 : 4 << 20)
  }
  let residency = sharded.map { BlockResidency($0) }
  let rows = Parameter(.randomNormal([31, 24], generator: Generator(seed: 77)))
  let table = ToyTable(rows)
  let isTied = kind == "tied"
  let head = ToyTable(
    isTied ? rows : Parameter(.randomNormal([9, 24], generator: Generator(seed: 78))))
  try residency?.takeOutside(entry: [table], exit: [head])
  for (number, block) in blocks.enumerated() { try residency?.take(block, as: number) }
  let order = BlockPass(residency, stacks: [Array(blocks.indices)])
  func pass() throws -> [Tensor] {
    let offset = Tensor.randomNormal([3, 24], generator: Generator(seed: 99))
    offset.requiresGradient = true
    let input = offset
    var x = order.entry { rows.value.selecting(0, Tensor([4, 30, 7])) } + offset
    for (number, block) in blocks.enumerated() {
      x = order.block(number, [x]) { [block($0[0])] }[0]
    }
    let loss = order.exit { (x.linear(head.weight.value) * x.linear(head.weight.value)).sum() }
    loss.backward()
    try residency?.check()
    let gradients = [input.gradient] + blocks.map(\.scale.value.gradient)
    for block in blocks { block.scale.value.gradient = nil }
    return [loss.detached()] + gradients.compactMap { $0 }
  }
  let first = try pass()
  let before = processes?.traffic.total ?? 0
  let again = try pass()
  let sent = (processes?.traffic.total ?? 0) - before
  precondition(zip(first, again).allSatisfy { $0.isEqual(to: $1) })
  // Held all at once, everything is there.
  let sums = try residency?.holdingAll {
    try residency?.holdingOutside { [rows.value.sum().item()] }
  }
  let outside = try residency?.holdingOutside {
    try residency?.holdingAll { [rows.value.sum().item()] }
  }
  precondition(sums == outside)
  let biases = try residency?.holdingAll { blocks.map { $0.bias.value.sum().item() } }
  precondition((biases ?? [1]).allSatisfy { $0 != 0 })
  let size = processes?.size ?? 1
  func filled(_ count: Int) -> Int { (count + 64 * size - 1) / (64 * size) * 64 * size }
  let bytes = blocks.map { filled($0.byteCount) }
  let (front, behind) = (filled(table.byteCount), filled(head.byteCount))
  let kept = bytes.reduce(0, +) + front + (isTied ? 0 : behind)
  let forth = bytes.reduce(0, +) + front + behind
  let moved = (forth + bytes.dropLast().reduce(0, +)) / size * (size - 1)
  return
    "\(first.map(hash))\n\(sharded?.keptByteCount ?? 0) \(kept / size)\n\(sent) \(moved)"
}

/// Three updates of five blocks all of whose floating-point numbers are trained, and of one number outside;
/// two rounds of parts, the second one without a part for the last process.
///
/// The first line tells the bits of the parameters behind the last update and the lengths of gradients; the
/// second one bytes sent in an update and the formula: with T_b bytes of block b's buckets, T_o of those
/// outside and R rounds, (T_o + R (sum of T_b forth + sum of T_b back without the last block's)) (N - 1) / N
/// for parameters, R (T_o + sum of T_b) (N - 1) / N for gradients, and squares and records as ever.
func trainedBlocksRun(_ processes: ProcessGroup?) throws -> String {
  let blocks = (0..<5).map { ToyBlock($0, kind: "float32") }
  let factor = Parameter(Tensor.full([3], 0.5))
  factor.isTrainable = true
  for block in blocks { (block.weight.isTrainable, block.bias.isTrainable) = (true, true) }
  var named = [(name: "factor", parameter: factor)]
  var places: [Int?] = [nil]
  for (number, block) in blocks.enumerated() {
    for (path, parameter) in block.parameters() {
      named.append((name: "\(number).\(path)", parameter: parameter))
      places.append(number)
    }
  }
  let plain = named.map(\.parameter)
  let exchange = processes.map { DataParallel(plain, in: $0, isOrdered: true, blocks: places) }
  var settings = OptimizerKind.Settings()
  settings.weightDecay = 0.1
  let shared = try exchange.map {
    try ShardedOptimizer(stage: 3, names: named.map(\.name), $0) {
      try OptimizerKind.adamW.make($0, settings, stateDirectory: "", partsOf: $1)
    }
  }
  let optimizer: any Optimizer =
    try shared ?? OptimizerKind.adamW.make(named, settings, stateDirectory: "")
  let residency = shared.map { _ in BlockResidency() }
  shared?.shardParameters()
  residency?.trained = shared
  let size = processes?.size ?? 1
  let parts = max(4, 2 * size - 1)
  func compute(_ part: Int) -> Double {
    var x = Tensor.randomNormal([3, 24], generator: Generator(seed: UInt64(100 + part)))
    for (number, block) in blocks.enumerated() {
      x =
        residency?.run(number, of: Array(blocks.indices), [x]) { [block($0[0])] }[0] ?? block(x)
    }
    let loss = (x * factor.value.unsqueezed(1)).sum()
    loss.backward()
    residency?.end()
    return loss.detached().item()
  }
  var (norms, sent) = ([Double](), 0)
  let fixed = CommandLine.arguments.count > 2 ? Int(CommandLine.arguments[2]) ?? parts : parts
  for _ in 0..<3 {
    let before = processes?.traffic.total ?? 0
    if let shared {
      try shared.gatherOutside()
      _ = try shared.gradients(parts: fixed, compute: compute)
      try residency?.check()
      norms.append(try shared.clip(maximumNorm: 1))
    } else {
      for part in 0..<fixed { _ = compute(part) }
      norms.append(GradientNorm.clip(plain, maximumNorm: 1))
    }
    optimizer.step(learningRate: 0.01)
    try shared?.shareParameters()
    optimizer.zeroGradients()
    sent = (processes?.traffic.total ?? 0) - before
  }
  try shared?.gatherParameters()
  let bits = plain.map { hash($0.value.detached()) }
  func bucket(_ counts: [Int]) -> Int {
    let aligned = counts.reduce(0) { $0 + ($1 + 255) / 256 * 256 }
    return 4 * ((aligned + 256 * size - 1) / (256 * size) * 256 * size)
  }
  let outside = bucket([3])
  let inside = blocks.map { bucket($0.parameters().map(\.parameter.count)) }
  let (total, rounds) = (outside + inside.reduce(0, +), (fixed + size - 1) / size)
  let moved =
    outside + rounds * (inside.reduce(0, +) + inside.dropLast().reduce(0, +)) + rounds * total
  // Eight bytes for 256 elements of four; losses, a flag and one word of presence.
  let rest = total / 128 / size * (size - 1) + 8 * (rounds + 2) * (size - 1)
  return "\(bits) \(norms)\n\(sent) \(moved / size * (size - 1) + rest)"
}
