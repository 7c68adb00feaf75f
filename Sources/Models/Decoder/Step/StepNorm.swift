import CKernels
import Layers
import Tensors

/// A norm of few rows, by a kernel where there is one for it.
struct StepNorm {
  private let module: any Normalization
  /// The factors of a root-mean-square norm in float32.
  private let weight: Tensor?
  private let epsilon: Float

  init(_ module: any Normalization) {
    self.module = module
    guard let norm = module as? RMSNorm, case let own = norm.weight.value.detached(),
      own.dtype == .float32, own.device.kind == .cpu
    else {
      (weight, epsilon) = (nil, 0)
      return
    }
    weight = norm.weighting == .wideOffset ? own + 1.0 : own.contiguous()
    epsilon = Float(norm.epsilon)
  }

  /// Normalises vectors.
  ///
  /// - Parameters:
  ///   - x: Contiguous, any number of vectors of the norm's size.
  ///   - result: As many numbers; may be x where the norm is one of a kernel's.
  func callAsFunction(_ x: Tensor, into result: Tensor) {
    guard let weight else {
      result.copyInPlace(from: module(x).reshaped(result.shape))
      return
    }
    let size = weight.count
    let vectors = x.count / max(1, size)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, vectors)) { scales in
      guard let scale = scales.baseAddress else { return }
      graft_rms_norm(
        x.elements(), weight.elements(), epsilon, Int64(size), 0, Int64(vectors),
        result.elements(), scale)
    }
    withExtendedLifetime((x, weight, result)) {}
  }
}
