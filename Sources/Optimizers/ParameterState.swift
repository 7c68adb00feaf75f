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

  /// Changes the parameter if it has a gradient.
  func update(learningRate: Double) {
    guard let gradient = parameter.value.gradient, parameter.count > 0 else { return }
    stepCount += 1
    // The memory itself where kernels can work on it, else a copy that is written back.
    let value = parameter.value.detached()
    let isInPlace = value.device == .cpu && value.isContiguous
    let work = isInPlace ? value : value.to(device: .cpu).contiguous()
    let source = gradient.detached().to(device: .cpu).contiguous()
    let blocks = blockCount(work.count, settings.blockSize)
    let tensors = memory(work, source)
    func call(shortening: Double = 1) -> KernelCall {
      KernelCall(
        step: settings.step(stepCount, learningRate: learningRate, shortening: shortening),
        tensors: tensors)
    }
    // Rules with a limit go over the blocks twice: what they measure comes before what they do.
    let limited = settings.maximumUpdateNorm.map {
      call(shortening: shortening($0, call(), blocks))
    }
    (limited ?? call()).update(blocks)
    withExtendedLifetime((work, source)) {}
    if isInPlace {
      // Changes nothing, but tells autograd that the memory was written to.
      value.reshaped([value.count]).narrowed(0, 0..<0).fillInPlace(0)
    } else {
      value.copyInPlace(from: work)
    }
  }

  /// What keeps the direction within its limit, at most 1.
  ///
  /// A parameter of zeros has no length to compare with and moves freely, as otherwise it would
  /// stay zero for ever (LoRA's B begins so); in bitsandbytes it stays.
  private func shortening(_ maximum: Double, _ call: KernelCall, _ blocks: Int) -> Double {
    let (own, direction) = call.norms(blocks)
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

  /// Sums of squares of the parameter and of the direction; the same with any number of threads.
  func norms(_ blocks: Int) -> (own: Double, direction: Double) {
    let sums = UnsafeMutablePointer<Double>.allocate(capacity: 2 * blocks)
    defer { sums.deallocate() }
    let result = SharedSums(sums: sums)
    forEachRange(blocks, "optimizer_norms") { range in
      var (step, tensors) = (step, tensors)
      graft_optimizer_norms(
        &step, &tensors, Int64(range.lowerBound), Int64(range.upperBound), result.sums)
    }
    return (0..<blocks).reduce(into: (0, 0)) { total, block in
      total.own += sums[2 * block]
      total.direction += sums[2 * block + 1]
    }
  }

  private struct SharedSums: @unchecked Sendable { let sums: UnsafeMutablePointer<Double> }
}
