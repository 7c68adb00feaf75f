import CKernels
import Checkpoints
import Layers
import Quantization
import Tensors

/// One parameter of ``FusedOptimizer`` with its state.
final class ParameterState {
  let name: String
  let parameter: Parameter
  let settings: FusedOptimizerConfiguration
  /// float32, or codes, of the parameter's shape; `[2] + shape` with a slow mean.
  let state1: Tensor
  let state2: Tensor?
  /// Magnitudes of the codes' blocks: `[blocks]`, or `[2, blocks]`.
  let absmax1: Tensor?
  let absmax2: Tensor?
  /// The square of the last direction's length, `[1]`.
  let updateNorm: Tensor?
  /// Steps made.
  var stepCount = 0

  /// Makes a state of zeros.
  ///
  /// - Parameters:
  ///   - name: The parameter's name in a saved state.
  ///   - parameter: What is trained.
  ///   - settings: Its settings.
  ///   - make: Makes a contiguous tensor of zeros on the processor.
  init(
    _ name: String, _ parameter: Parameter, _ settings: FusedOptimizerConfiguration,
    make: ([Int], DType) -> Tensor
  ) {
    self.name = name
    self.parameter = parameter
    self.settings = settings
    let shape = parameter.value.shape
    let usesCodes = settings.usesCodes(elements: parameter.count)
    let dtype = usesCodes ? DType.uint8 : .float32
    let copies = settings.rule == .adEMAMix ? [2] : []
    let blocks = [blockCount(parameter.count, settings.blockSize)]
    state1 = make(copies + shape, dtype)
    state2 = settings.rule.hasSecondState ? make(shape, dtype) : nil
    absmax1 = usesCodes ? make(copies + blocks, .float32) : nil
    absmax2 = usesCodes && settings.rule.hasSecondState ? make(blocks, .float32) : nil
    updateNorm = settings.maximumUpdateNorm == nil ? nil : .zeros([1])
  }

  /// What kernels work on for a step: the memory itself where they can, else a copy.
  private struct Work {
    let values: Tensor
    let gradient: Tensor
    let isInPlace: Bool
    let blocks: Int
    let tensors: graft_optimized
  }

  /// Nil without a gradient.
  private func work() -> Work? {
    guard let gradient = parameter.value.gradient, parameter.count > 0 else { return nil }
    let value = parameter.value.detached()
    let isInPlace = value.device == .cpu && value.isContiguous
    let values = isInPlace ? value : value.to(device: .cpu).contiguous()
    let source = gradient.detached().to(device: .cpu).contiguous()
    return Work(
      values: values, gradient: source, isInPlace: isInPlace,
      blocks: blockCount(values.count, settings.blockSize), tensors: memory(values, source))
  }

  /// For rules with a limit: sums of squares of each block of the parameter and of the direction of the
  /// step that comes next, one after the other; nil for others and without a gradient.
  func blockSums(learningRate: Double) -> [Double]? {
    guard settings.maximumUpdateNorm != nil, let work = work() else { return nil }
    let call = KernelCall(
      step: settings.step(stepCount + 1, learningRate: learningRate, shortening: 1),
      tensors: work.tensors)
    let sums = call.blockSums(work.blocks)
    withExtendedLifetime(work) {}
    return sums
  }

  /// Changes the parameter if it has a gradient.
  ///
  /// - Parameters:
  ///   - learningRate: Size of the step.
  ///   - sums: What ``blockSums(learningRate:)`` gives, for the whole parameter where this is a part of
  ///     one; nil where the rule has no limit.
  func update(learningRate: Double, sums: [Double]?) {
    guard let work = work() else { return }
    stepCount += 1
    // Rules with a limit go over the blocks twice: what they measure comes before what they do.
    var factor = 1.0
    if let maximum = settings.maximumUpdateNorm, let sums { factor = shortening(maximum, sums) }
    KernelCall(
      step: settings.step(stepCount, learningRate: learningRate, shortening: factor),
      tensors: work.tensors
    ).update(work.blocks)
    let (value, isInPlace) = (parameter.value.detached(), work.isInPlace)
    withExtendedLifetime(work) {}
    if isInPlace {
      // Changes nothing, but tells autograd that the memory was written to.
      value.reshaped([value.count]).narrowed(0, 0..<0).fillInPlace(0)
    } else {
      value.copyInPlace(from: work.values)
    }
  }

  /// What keeps the direction within its limit, at most 1.
  ///
  /// A parameter of zeros has no length to compare with and moves freely, as otherwise it would
  /// stay zero for ever (LoRA's B begins so); in bitsandbytes it stays.
  private func shortening(_ maximum: Double, _ sums: [Double]) -> Double {
    var (own, direction) = (0.0, 0.0)
    for block in 0..<(sums.count / 2) {
      own += sums[2 * block]
      direction += sums[2 * block + 1]
    }
    let scale = settings.directionScale(at: stepCount)
    let (length, limit) = (direction.squareRoot() * scale, maximum * own.squareRoot())
    // More than float32 holds becomes infinite.
    updateNorm?.withUnsafeMutableBytes {
      $0.storeBytes(of: Float(direction * scale * scale), as: Float.self)
    }
    return limit > 0 && length > limit ? limit / length : 1
  }

  /// What kernels take; valid as long as the tensors.
  private func memory(_ work: Tensor, _ gradient: Tensor) -> graft_optimized {
    var result = graft_optimized(
      parameter: work.memory, parameter_type: floatType(of: work.dtype, in: "FusedOptimizer"),
      gradient: UnsafeRawPointer(gradient.memory),
      gradient_type: floatType(of: gradient.dtype, in: "FusedOptimizer"),
      count: Int64(work.count), block_size: Int64(settings.blockSize),
      state1: kernelState(state1, absmax1, .dynamic), slow: graft_optimizer_state(),
      state2: graft_optimizer_state())
    if let state2 { result.state2 = kernelState(state2, absmax2, .dynamicUnsigned) }
    if settings.rule == .adEMAMix {
      result.slow = kernelState(state1, absmax1, .dynamic)
      result.slow.values? += state1.byteCount / 2
      if let absmax1 { result.slow.absmax? += absmax1.count / 2 }
    }
    return result
  }

  private func kernelState(
    _ values: Tensor, _ absmax: Tensor?, _ map: CodeMap
  ) -> graft_optimizer_state {
    graft_optimizer_state(
      values: values.memory, absmax: absmax?.elements(),
      search: absmax == nil ? nil : UnsafePointer(map.search))
  }
}

/// One step of one parameter, split into calls that write disjoint parts of the memory.
private struct KernelCall: @unchecked Sendable {
  let step: graft_optimizer_step
  let tensors: graft_optimized

  private func forEachRange(
    _ blocks: Int, _ name: StaticString, _ body: @Sendable (Range<Int>) -> Void
  ) {
    withScope(.kernel, "\(name)") {
      Runtime.parallelFor(0..<blocks, grain: max(1, 16384 / Int(tensors.block_size)), body)
    }
  }

  func update(_ blocks: Int) {
    forEachRange(blocks, "optimizer_update") { range in
      var (step, tensors) = (step, tensors)
      graft_optimizer_update(&step, &tensors, Int64(range.lowerBound), Int64(range.upperBound))
    }
  }

  /// Sums of squares of each block of the parameter and of the direction, one after the other; the same
  /// with any number of threads.
  func blockSums(_ blocks: Int) -> [Double] {
    [Double](unsafeUninitializedCapacity: 2 * blocks) { buffer, count in
      if let base = buffer.baseAddress {
        let result = SharedSums(sums: base)
        forEachRange(blocks, "optimizer_norms") { range in
          var (step, tensors) = (step, tensors)
          graft_optimizer_norms(
            &step, &tensors, Int64(range.lowerBound), Int64(range.upperBound), result.sums)
        }
      }
      count = 2 * blocks
    }
  }

  private struct SharedSums: @unchecked Sendable { let sums: UnsafeMutablePointer<Double> }
}
