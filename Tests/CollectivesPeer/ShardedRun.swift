import Collectives
import Distributed
import Layers
import Optimizers
import Tensors

/// A few parameters, the same on all processes, and their optimiser, shared out from stage 1 on.
struct ShardedCase {
  static let shapes = [[70, 75], [5], [8192], [3, 4099]]

  let parameters: [(name: String, parameter: Parameter)]
  let exchange: DataParallel?
  var shared: ShardedOptimizer?
  let optimizer: any Optimizer

  /// With `blocks`, the block that each parameter is in, parameters share buckets in another way.
  init(
    _ processes: ProcessGroup?, stage: Int, optimizer name: String, blocks: [Int?] = []
  ) throws {
    struct Unknown: Error {}
    guard let kind = OptimizerKind(name) else { throw Unknown() }
    parameters = Self.shapes.enumerated().map { index, shape in
      let generator = Generator(seed: UInt64(index))
      return (
        name: "layer.\(index)",
        parameter: Parameter(.randomNormal(shape, generator: generator))
      )
    }
    for (_, parameter) in parameters { parameter.isTrainable = true }
    let plain = parameters.map(\.parameter)
    var settings = OptimizerKind.Settings()
    settings.weightDecay = 0.1
    exchange = processes.map { DataParallel(plain, in: $0, isOrdered: true, blocks: blocks) }
    if stage > 0, let exchange {
      shared = try ShardedOptimizer(stage: stage, names: parameters.map(\.name), exchange) {
        try kind.make($0, settings, stateDirectory: "", partsOf: $1)
      }
    }
    optimizer = try shared ?? kind.make(parameters, settings, stateDirectory: "")
  }

  /// Bits of a whole optimiser's state.
  var states: [String] {
    optimizer.state.map { "\($0.name) \($0.tensor.shape) \(hash($0.tensor))" }.sorted()
  }
}

/// Five updates of a few parameters with gradients that depend on update and part only.
///
/// The first line tells the parameters' bits and, on rank 0, those of the optimiser's whole state, read from
/// the shares that processes have written to a directory; the second one bytes of state that this process
/// keeps; the third one bytes that it sent in one update; the fourth one bytes of state that it sent
/// to be saved.
func shardedRun(
  _ processes: ProcessGroup?, stage: Int, optimizer name: String, parts: Int, directory: String?
) throws -> String {
  let run = try ShardedCase(processes, stage: stage, optimizer: name)
  let (shapes, plain) = (ShardedCase.shapes, run.parameters.map(\.parameter))
  let (exchange, shared, optimizer) = (run.exchange, run.shared, run.optimizer)
  if stage == 3 { shared?.shardParameters() }
  var sent = 0
  for update in 0..<5 {
    let before = processes?.traffic.total ?? 0
    func compute(_ part: Int) -> Double {
      var loss = Tensor.zeros([])
      // The second parameter has no gradient in the first update.
      for (index, parameter) in plain.enumerated() where index != 1 || update > 0 {
        let generator = Generator(seed: UInt64(1000 * update + 10 * part + index))
        let noise = Tensor.randomNormal(shapes[index], generator: generator)
        loss = loss + (parameter.value * noise).sum()
      }
      loss.backward()
      return 1
    }
    if let shared {
      try shared.gatherParameters()
      _ = try shared.gradients(parts: parts, compute: compute)
      _ = try shared.clip(maximumNorm: 100)
    } else {
      if let exchange {
        _ = try exchange.gradients(parts: parts, compute: compute)
      } else {
        for part in 0..<parts { _ = compute(part) }
      }
      _ = GradientNorm.clip(plain, maximumNorm: 100)
    }
    optimizer.step(learningRate: 0.01)
    try shared?.shareParameters()
    optimizer.zeroGradients()
    sent = (processes?.traffic.total ?? 0) - before
  }
  let kept = optimizer.state.reduce(0) { $0 + $1.tensor.byteCount }
  var states = shared == nil ? run.states : []
  if let shared, let directory {
    try save(shared, directory)
    if shared.rank == 0 {
      let whole = try ShardedCase(nil, stage: 0, optimizer: name)
      try load(directory, into: whole.optimizer)
      states = whole.states
    }
  }
  try shared?.gatherParameters()
  let bits = plain.map { hash($0.value.detached()) }
  let isFirst = processes?.rank ?? 0 == 0
  let saving = processes?.traffic.purposes["state"] ?? 0
  return "\(bits) \(isFirst ? states : [])\n\(kept)\n\(sent)\n\(saving)"
}

/// A hash of a tensor's bytes.
func hash(_ tensor: Tensor) -> String {
  var value: UInt64 = 0xcbf2_9ce4_8422_2325
  tensor.contiguous().withUnsafeBytes { bytes in
    for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
  }
  return String(value, radix: 16)
}
