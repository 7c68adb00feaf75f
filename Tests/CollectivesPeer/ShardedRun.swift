import Collectives
import Distributed
import Layers
import Optimizers
import Tensors

/// Five updates of a few parameters with gradients that depend on update and part only.
///
/// The first line tells the parameters' bits and, on rank 0, those of the optimiser's whole state; the second
/// one bytes of state that this process keeps; the third one bytes that it sent in one update.
func shardedRun(
  _ processes: ProcessGroup?, stage: Int, optimizer name: String, parts: Int
) throws -> String {
  guard let kind = OptimizerKind(name) else { return "no optimiser \(name)" }
  let shapes = [[70, 75], [5], [8192], [3, 4099]]
  let parameters = shapes.enumerated().map { index, shape in
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
  let exchange = processes.map { DataParallel(plain, in: $0, isOrdered: true) }
  var shared: ShardedOptimizer?
  if stage > 0, let exchange {
    shared = try ShardedOptimizer(stage: stage, names: parameters.map(\.name), exchange) {
      try kind.make($0, settings, stateDirectory: "", partsOf: $1)
    }
  }
  let optimizer: any Optimizer =
    try shared ?? kind.make(parameters, settings, stateDirectory: "")
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
  let state = try shared?.wholeState() ?? optimizer.state
  try shared?.gatherParameters()
  let bits = plain.map { hash($0.value.detached()) }
  let states = state.map { "\($0.name) \($0.tensor.shape) \(hash($0.tensor))" }.sorted()
  let isFirst = processes?.rank ?? 0 == 0
  return "\(bits) \(isFirst ? states : [])\n\(kept)\n\(sent)"
}

/// A hash of a tensor's bytes.
func hash(_ tensor: Tensor) -> String {
  var value: UInt64 = 0xcbf2_9ce4_8422_2325
  tensor.contiguous().withUnsafeBytes { bytes in
    for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
  }
  return String(value, radix: 16)
}
