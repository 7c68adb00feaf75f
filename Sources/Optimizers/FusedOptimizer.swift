public import Checkpoints
public import Layers
import Quantization
public import Tensors

/// Any ``UpdateRule``, with its state in float32 or in blockwise codes of 8 bits.
///
/// Each block of 256 elements is done in one pass: its state is decoded, state and parameter are
/// changed in float32, the state is encoded again to the nearest codes; there are no temporary
/// tensors. Adam takes 2.03 bytes of state for an element in codes, rules with one state 1.02. A zero
/// stays zero: what has no gradient and no state does not move.
///
/// Non-finite gradients: with codes, such an element's state becomes 0 and its parameter stays, so
/// that its block is not spoilt; with float32 they propagate as in torch.
///
/// Every parameter counts its own steps. Kernels run on the processor: a parameter that lives
/// elsewhere, or is not contiguous, is copied there and back at each step, and its state stays there.
///
/// - Note: Source: Dettmers et al. 2021, arXiv 2110.02861. State and rules are bitsandbytes 0.50.2's,
///   in the semantics of its CUDA kernels, but: codes are the nearest ones; decay comes before the
///   step; RMSprop and Adagrad step along the decayed gradient with codes too; and the limit of
///   LAMB's and LARS's direction, which it ignores with codes, holds there too.
public final class FusedOptimizer: Optimizer {
  private let states: [ParameterState]
  private let maps: [Tensor]

  /// Makes an optimiser with a state of zeros.
  ///
  /// - Parameters:
  ///   - parameters: What to train, with names for the saved state: float32, float16 or bfloat16.
  ///   - configuration: Settings.
  ///   - decays: Whether the weights of a parameter, given with its name, decay; the default
  ///     spares biases and norms, which have one dimension.
  ///   - stateDirectory: Where a file without a name holds the state, so that it may be larger than
  ///     memory; nil for memory.
  ///   - overriding: Changes the settings of a parameter, given with its name.
  /// - Throws: `CheckpointError` when the file cannot be made, for example for lack of room.
  public init(
    _ parameters: [(name: String, parameter: Parameter)],
    _ configuration: FusedOptimizerConfiguration,
    decays: (String, Parameter) -> Bool = { $1.value.rank > 1 },
    stateDirectory: String? = nil,
    overriding: (String, Parameter, inout FusedOptimizerConfiguration) -> Void = { _, _, _ in }
  ) throws(CheckpointError) {
    let settings = parameters.map { name, parameter in
      var own = configuration
      if !decays(name, parameter) { own.weightDecay = 0 }
      overriding(name, parameter, &own)
      own.check(name)
      return own
    }
    func make(_ tensor: ([Int], DType) -> Tensor) -> [ParameterState] {
      zip(parameters, settings).map { ParameterState($0.name, $0.parameter, $1, make: tensor) }
    }
    if let stateDirectory {
      // Once to measure, with tensors that are not kept, once over the file.
      var size = 0
      _ = make { shape, dtype in
        size += Self.room(shape, dtype)
        return .empty([0], dtype: dtype)
      }
      let file = try ScratchFile(directory: stateDirectory, count: max(size, 1))
      var position = 0
      states = make { shape, dtype in
        defer { position += Self.room(shape, dtype) }
        guard let base = file.bytes.baseAddress, !shape.contains(0) else {
          return .zeros(shape, dtype: dtype)
        }
        return .aliasing(base + position, shape: shape, dtype: dtype, owner: file)
      }
    } else {
      states = make { .zeros($0, dtype: $1) }
    }
    maps = [CodeMap.dynamic, .dynamicUnsigned].map { Tensor($0.values) }
  }

  /// Bytes of a tensor in a file, so that each begins at a line of the cache.
  private static func room(_ shape: [Int], _ dtype: DType) -> Int {
    (shape.reduce(dtype.byteCount, *) + 63) / 64 * 64
  }

  /// Completes sums of squares where parameters are parts of larger ones; nil where they are whole.
  ///
  /// It gets those of each parameter's blocks, as the limits of LAMB and LARS need them, nil where there is
  /// no limit or no gradient, and gives those of all blocks of the larger ones, in their order.
  public var completeSums: ((_ own: [[Double]?]) -> [[Double]?])?

  /// Changes every parameter that has a gradient.
  ///
  /// - Parameter learningRate: Size of the step.
  public func step(learningRate: Double) {
    withoutGradients {
      guard let completeSums, states.contains(where: { $0.settings.maximumUpdateNorm != nil })
      else {
        for state in states {
          state.update(
            learningRate: learningRate, sums: state.blockSums(learningRate: learningRate))
        }
        return
      }
      let sums = completeSums(states.map { $0.blockSums(learningRate: learningRate) })
      for (state, whole) in zip(states, sums) {
        state.update(learningRate: learningRate, sums: whole)
      }
    }
  }

  /// Forgets all gradients.
  public func zeroGradients() {
    for state in states { state.parameter.value.gradient = nil }
  }

  /// Bytes that the state takes, without the tables of codes, which are shared.
  public var stateByteCount: Int {
    states.reduce(0) { sum, state in
      [state.state1, state.state2, state.absmax1, state.absmax2, state.updateNorm]
        .reduce(sum) { $0 + ($1?.byteCount ?? 0) }
    }
  }

  /// Everything that the next step depends on besides parameters and gradients.
  ///
  /// Names are bitsandbytes' behind the parameter's: "<parameter>.state1" and, where they are,
  /// ".state2", ".qmap1", ".qmap2", ".absmax1", ".absmax2" and ".unorm_vec", then ".step".
  public var state: [(name: String, tensor: Tensor)] {
    states.flatMap { state in
      let usesCodes = state.absmax1 != nil
      let all: [(String, Tensor?)] = [
        ("state1", state.state1), ("state2", state.state2),
        ("qmap1", usesCodes ? maps[0] : nil),
        ("qmap2", state.absmax2 == nil ? nil : maps[1]),
        ("absmax1", state.absmax1), ("absmax2", state.absmax2), ("unorm_vec", state.updateNorm),
        ("step", Tensor([state.stepCount])),
      ]
      return all.compactMap { key, tensor in tensor.map { ("\(state.name).\(key)", $0) } }
    }
  }

  /// Takes over a saved state, copying it.
  ///
  /// - Parameter saved: Tensors by the names of ``state``; others are left alone.
  /// - Throws: ``OptimizerError`` when one is missing or does not fit; nothing is changed then.
  public func load(_ saved: [String: Tensor]) throws(OptimizerError) {
    let own = state
    let found = try matching(saved)
    var counts: [Int] = []
    for ((name, tensor), value) in zip(own, found) {
      if name.hasSuffix(".step") {
        let steps = value.item()
        guard let count = Int(exactly: steps), count >= 0 else {
          throw .state(name: name, reason: "is \(steps), expected a count")
        }
        counts.append(count)
        continue
      }
      guard value.dtype == tensor.dtype else {
        throw .state(name: name, reason: "has type \(value.dtype), expected \(tensor.dtype)")
      }
      if name.hasSuffix(".qmap1") || name.hasSuffix(".qmap2") {
        guard value.array(of: Float.self) == tensor.array(of: Float.self) else {
          throw .state(name: name, reason: "is not the dynamic map")
        }
      }
    }
    for ((name, tensor), value) in zip(own, found)
    where !name.hasSuffix(".step") && !name.hasSuffix(".qmap1") && !name.hasSuffix(".qmap2") {
      tensor.copyInPlace(from: value)
    }
    for (state, count) in zip(states, counts) { state.stepCount = count }
  }
}
