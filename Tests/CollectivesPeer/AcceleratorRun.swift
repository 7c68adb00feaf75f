import Collectives
import Datasets
import Distributed
import Foundation
import Layers
import Optimizers
import Tensors

/// A training loop by `Accelerator`: a table of embeddings learns a number for each token.
///
/// The loss of a batch is the sum over its labels of (w[token] - label / 10)^2.
func acceleratorRun(
  _ processes: ProcessGroup?, accumulation: Int, epochs: Int, stopAfter: Int?, directory: String?
) throws -> String {
  let examples = (0..<11).map { index in
    let count = 2 + index % 4
    return TokenizedExample(
      ids: (0..<count).map { Int32(($0 * 7 + index) % 13) },
      labels: (0..<count).map { Int32(($0 + index) % 9) })
  }
  let sampler = BatchSampler(
    examples, options: BatchingOptions(batchSize: 3, seed: 5), paddingID: 0)
  let table = Parameter(
    Tensor.randomNormal([13, 2], generator: Generator(seed: UInt64(processes?.rank ?? 0))))
  if processes == nil {
    table.value = Tensor.randomNormal([13, 2], generator: Generator(seed: 0))
  }
  table.isTrainable = true
  let accelerator = Accelerator(processes: processes, gradientAccumulation: accumulation)
  let optimizer = try accelerator.prepare(AdamW([("table", table)], .init()), [("table", table)])
  var (epoch, start) = (0, 0)
  if let directory, FileManager.default.fileExists(atPath: directory) {
    let notes = try accelerator.load(directory)
    (epoch, start) = (notes["epoch"] ?? 0, notes["batch"] ?? 0)
  }
  var lines: [String] = []
  while epoch < epochs {
    for part in accelerator.parts(of: sampler, epoch: epoch, from: start) {
      try accelerator.accumulate(isLast: part.isLast) {
        var rows = Tensor.zeros([0])
        if let batch = part.batch {
          let chosen = batch.labels.indices.filter { batch.labels[$0] >= 0 }
          let ids = Tensor(chosen.map { Int64(batch.ids[$0]) })
          let wanted = Tensor(chosen.map { Float(batch.labels[$0]) / 10 }).reshaped([
            chosen.count, 1,
          ])
          let difference = table.value.embedding(ids) - wanted
          accelerator.backward(
            (difference * difference).sum(), weight: Double(chosen.count))
          rows = Tensor((0..<batch.rowCount).map { Float(batch.ids[$0 * batch.length]) })
        }
        // What was asked of the rows, in their order.
        let seen = try accelerator.gatherForMetrics(rows)
        precondition(seen.count == part.rowCount)
        let norm = try accelerator.clipGradients(maximumNorm: 0.5)
        try optimizer.step(learningRate: 0.05)
        optimizer.zeroGradients()
        if let norm { lines.append("\(seen.array(of: Float.self)) \(norm)") }
      }
      if accelerator.updateCount == stopAfter, accelerator.synchronizesGradients, let directory {
        try accelerator.save(directory, notes: ["epoch": epoch, "batch": part.index + 1])
        return "saved"
      }
    }
    (epoch, start) = (epoch + 1, 0)
  }
  let numbers = table.value.detached().array(of: Double.self)
  return "\(accelerator.updateCount)\n" + lines.joined(separator: "\n") + "\n\(numbers)"
}

/// Gathering, padding, sharing out, and stopping together.
func acceleratorOperations(_ processes: ProcessGroup) throws {
  let accelerator = Accelerator(processes: processes)
  let (rank, size) = (accelerator.processIndex, accelerator.processCount)
  let own = Tensor((0..<(rank + 1)).map { Float(10 * rank + $0) })
  let padded = try accelerator.padAcrossProcesses(own, value: -1)
  precondition(padded.shape == [size])
  let all = try accelerator.gather(padded).reshaped([size, size]).array(of: Float.self)
  for other in 0..<size {
    for place in 0..<size {
      precondition(all[other * size + place] == (place <= other ? Float(10 * other + place) : -1))
    }
  }
  let scalars = try accelerator.gather(Tensor.full([], Double(rank)))
  precondition(scalars.array(of: Float.self) == (0..<size).map { Float($0) })
  let total = try accelerator.reduce(Tensor.full([3], 1)).array(of: Float.self)
  precondition(total == [Float(size), Float(size), Float(size)])
  // Seven rows of which rank r has r, r + N, ...
  for count in [0, 1, 7] {
    let rows = stride(from: rank, to: count, by: size).map { Float($0) }
    let metrics = try accelerator.gatherForMetrics(Tensor(rows)).array(of: Float.self)
    precondition(metrics == (0..<count).map { Float($0) })
  }
  let shares = try processes.allGather("\(Array(accelerator.split(Array(0..<10))))", "shares")
  let joined = shares.joined(separator: ",").replacingOccurrences(of: "],[", with: ", ")
  precondition(joined == "\(Array(0..<10))")
  let (some, none) = (try accelerator.anyProcess(rank == 1), try accelerator.anyProcess(false))
  precondition(some && !none)
  var order: [Int] = []
  try accelerator.mainProcessFirst { order.append(rank) }
  precondition(order == [rank])
}

/// Scaled losses of float16: an update that overflows is left out on all processes.
func scaledRun(_ processes: ProcessGroup) throws -> String {
  let weight = Parameter(Tensor.full([2], 1))
  weight.isTrainable = true
  let scaler = LossScaler(scale: 1024, growthInterval: 2)
  let accelerator = Accelerator(processes: processes, mixedPrecision: .float16(scaler))
  let optimizer = try accelerator.prepare(SGD([("w", weight)], .init()), [("w", weight)])
  var scales: [Double] = []
  for step in 0..<5 {
    try accelerator.accumulate {
      // Only the last rank overflows in the second step.
      let isBad = step == 1 && processes.rank == processes.size - 1
      accelerator.backward(
        (weight.value * (isBad ? Double.infinity : 0.5)).sum(), weight: 1)
      try optimizer.step(learningRate: 0.125)
      precondition(accelerator.stepWasSkipped == (step == 1))
      optimizer.zeroGradients()
      scales.append(accelerator.scaler?.scale ?? 0)
    }
  }
  return "\(scales) \(weight.value.detached().array(of: Float.self)) \(accelerator.updateCount)"
}
