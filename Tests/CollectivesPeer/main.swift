// One process of a group, for the tests of Collectives and Distributed: what it does is the first
// argument, its place comes from torchrun's variables. What it finds goes to standard output; an error
// ends it with code 1 and its text on standard error.
import Collectives
import Distributed
import Foundation
import Layers
import Tensors

/// Arguments behind the first one of a run with an optimiser that is shared out.
func sharded(_ processes: ProcessGroup?) throws -> String {
  let words = CommandLine.arguments
  return try shardedRun(
    processes, stage: Int(words[2]) ?? 0, optimizer: words[3], parts: Int(words[4]) ?? 1,
    directory: words.count > 5 ? place(words[5...], rank: processes?.rank ?? 0) : nil)
}

/// A directory of a process: the first word, or, where the second one names its rank, another that is not
/// the others'.
func place(_ words: ArraySlice<String>, rank: Int) -> String {
  let shared = words[words.startIndex]
  return words.count > 1 && words.last == "\(rank)" ? shared + "/elsewhere/saved" : shared
}

/// Arguments behind the first one of a pass over blocks: the kind.
func blocks(_ processes: ProcessGroup?) throws -> String {
  try blocksRun(processes, kind: CommandLine.arguments[2])
}

/// Arguments behind the first one of a run by `Accelerator`.
func accelerated(_ processes: ProcessGroup?) throws -> String {
  let words = CommandLine.arguments
  return try acceleratorRun(
    processes, accumulation: Int(words[2]) ?? 1, epochs: 3,
    stopAfter: words.count > 4 ? Int(words[4]) : nil, directory: words.count > 3 ? words[3] : nil)
}

guard let world = try World.detect(ProcessInfo.processInfo.environment) else {
  switch CommandLine.arguments[1] {
  case "accelerator": print(try accelerated(nil))
  case "sharded": print(try sharded(nil))
  case "reshare": print(try reshareRun(nil, CommandLine.arguments))
  case "blocks": print(try blocks(nil))
  case "trained-blocks": print(try trainedBlocksRun(nil))
  default: print("alone")
  }
  exit(0)
}
let group: ProcessGroup
do {
  group = try ProcessGroup.join(world, patience: 3, rendezvousTimeout: .seconds(8))
} catch {
  FileHandle.standardError.write(Data("\(error)\n".utf8))
  _exit(1)
}
let (rank, size) = (group.rank, group.size)

/// Numbers that are different on every rank, with many bits.
func noise(_ count: Int, seed: Int) -> Tensor {
  Tensor.randomNormal([count], generator: Generator(seed: UInt64(seed)))
}

func operations() throws {
  // Sums of whole numbers are exact, whatever their order.
  let numbers = (0..<1000).map { Float($0 % 17 * (rank + 1)) }
  let sum = Tensor(numbers)
  try group.allReduce(sum, .sum, "sum")
  let ranks = size * (size + 1) / 2
  precondition(sum.array(of: Float.self) == (0..<1000).map { Float($0 % 17 * ranks) })
  for (reduction, expected) in [(ProcessGroup.Reduction.maximum, size - 1), (.minimum, 0)] {
    let value = Tensor([Int64(rank)])
    try group.allReduce(value, reduction, "extreme")
    precondition(value.array(of: Int64.self) == [Int64(expected)])
  }
  let shared = noise(33, seed: rank)
  try group.broadcast(shared, from: size - 1, "broadcast")
  precondition(shared.array(of: Float.self) == noise(33, seed: size - 1).array(of: Float.self))
  for dtype in [DType.float32, .float64, .bfloat16, .float16, .int8, .uint8, .int64, .bool] {
    let all = try group.allGather(Tensor.full([2, 3], 1, dtype: dtype), "gather")
    precondition(all.shape == [size, 2, 3] && all.to(.float64).array().allSatisfy { $0 == 1.0 })
  }
  let gathered = try group.allGather([Double(rank), .nan], "numbers").map { $0[0] }
  precondition(gathered == (0..<size).map { Double($0) })
  let text = String(repeating: "ä", count: rank)
  let texts = try group.allGather(text, "texts")
  precondition(texts == (0..<size).map { String(repeating: "ä", count: $0) })
  // In the order of ranks, to the last bit.
  let count = 5 * size
  for contributors in 1...size {
    let part = try group.orderedReduceScatter(
      noise(count, seed: 100 + rank), of: contributors, "ordered sum")
    var expected = noise(count, seed: 100)
    for other in 1..<max(contributors, 1) { expected = expected + noise(count, seed: 100 + other) }
    precondition(
      part.array(of: Float.self)
        == Array(expected.array(of: Float.self)[(5 * rank)..<(5 * rank + 5)]))
  }
  // N processes: an all-reduce of 4000 bytes, and so on as the formulas say.
  precondition(group.traffic.bytes["all-reduce (sum)"] == 2 * 4000 * (size - 1) / size)
  precondition(group.traffic.bytes["all-to-all"] == size * (4 * count) * (size - 1) / size)
}

/// The sum of the squares of w - x_part, each part with a weight; one parameter stays without gradient.
func gradients(isOrdered: Bool, parts: Int) throws -> String {
  let shapes = [[3, 5], [7], [1000]]
  let parameters = shapes.enumerated().map {
    Parameter(noise($1.reduce(1, *), seed: $0 + 10 * rank).reshaped($1))
  }
  for parameter in parameters { parameter.isTrainable = true }
  let parallel = DataParallel(parameters, in: group, isOrdered: isOrdered)
  try parallel.shareParameters()
  let update = try parallel.gradients(parts: parts, stops: rank == size - 1) { part in
    var loss = Tensor.zeros([])
    for (index, parameter) in parameters.enumerated() where index != 1 {
      let difference =
        parameter.value - noise(parameter.count, seed: 1000 + part).reshaped(shapes[index])
      loss = loss + (difference * difference * (0.3 + Double(part))).sum()
    }
    loss.backward()
    return loss.item()
  }
  precondition(update.stops && parameters[1].value.gradient == nil)
  var bits: [UInt32] = []
  for parameter in parameters {
    bits += (parameter.value.gradient?.array(of: Float.self) ?? []).map(\.bitPattern)
  }
  return "\(update.values)\n\(bits)"
}

do {
  switch CommandLine.arguments[1] {
  case "operations":
    try operations()
    print("passed")
  case "gradients":
    print(
      try gradients(
        isOrdered: CommandLine.arguments[2] == "ordered", parts: Int(CommandLine.arguments[3]) ?? 1)
    )
  case "accelerator": print(try accelerated(group))
  case "sharded": print(try sharded(group))
  case "reshare": print(try reshareRun(group, CommandLine.arguments))
  case "save-fails":
    try savingFails(group, CommandLine.arguments[2], CommandLine.arguments[3])
    print("not noticed")
  case "blocks": print(try blocks(group))
  case "trained-blocks": print(try trainedBlocksRun(group))
  case "overlap": print(try overlapRun(group))
  case "late": print(try lateRun(group))
  case "accelerator-operations":
    try acceleratorOperations(group)
    print("passed")
  case "scaler": print(try scaledRun(group))
  case "diverge":
    // Rank 1 differs in the way that is asked for.
    let way = rank == 1 ? CommandLine.arguments[2] : ""
    try group.barrier("both")
    let tensor = Tensor.zeros([way == "shape" ? 5 : 4], dtype: way == "dtype" ? .float64 : .float32)
    switch way {
    case "operation": try group.broadcast(tensor, "step")
    case "extra":
      try group.allReduce(Tensor.zeros([4]), .sum, "step that others do not make")
      try group.allReduce(tensor, .sum, "step")
    default: try group.allReduce(tensor, .sum, "step")
    }
    print("not noticed")
  case "slices":
    // Works that are done about 100 ms after they are asked for, which is how long one waits at a time.
    for number in 0..<60 {
      if rank == 1 { usleep(UInt32(97_000 + 100 * number)) }
      try group.barrier("barrier \(number)")
    }
    print("passed")
  case "wait":
    // Works until somebody interferes.
    print(getpid())
    fflush(nil)
    while true {
      try group.allReduce(Tensor.zeros([1000]), .sum, "round")
      usleep(20_000)
    }
  case "end":
    // Rank 1 ends in its own way while the others ask for something.
    if rank == 1 {
      switch CommandLine.arguments[2] {
      case "exit": _exit(0)
      case "error":
        struct Trouble: Error {}
        group.abandon(because: Trouble())
        _exit(3)
      default: kill(getpid(), SIGSTOP)
      }
    }
    try group.barrier("after the end")
    print("not noticed")
  default: break
  }
  try group.leave()
} catch {
  group.abandon(because: error)
  FileHandle.standardError.write(Data("\(error)\n".utf8))
  _exit(1)
}
