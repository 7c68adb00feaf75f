import CKernels
import Tensors

extension FourBitCodes {
  /// x W^T + b for few rows of x, without a decoded copy of W.
  ///
  /// - Parameters:
  ///   - x: float32 `[rows, inputs]`.
  ///   - bias: float32 `[outputs]`, or nil.
  /// - Returns: float32 `[rows, outputs]`.
  func product(_ x: Tensor, bias: Tensor?) -> Tensor {
    precondition(
      shape.count == 2 && x.rank == 2 && x.size(1) == shape[1],
      "FourBitCodes.product: \(x.shape) by \(shape)")
    let (rows, outputs, depth) = (x.size(0), shape[0], shape[1])
    let result = Tensor.empty([rows, outputs], dtype: .float32)
    guard rows > 0, outputs > 0 else { return result }
    guard depth > 0 else { return result.emptyProduct(bias) }
    let x = x.detached().contiguous()
    let (bias, bytes) = (bias?.detached().to(.float32).contiguous(), bytes.contiguous())
    let split = Tensor.empty([rows, depth + 64], dtype: .float32)
    graft_split_pairs(x.elements(), Int64(rows), Int64(depth), split.elements())
    scales.withMagnitudes { magnitudes in
      let job = FourBitJob(
        product: graft_4bit_product(
          kind: type.kind, bytes: bytes.elements(), magnitudes: magnitudes,
          block_size: Int64(blockSize), rows: Int64(rows), outputs: Int64(outputs),
          depth: Int64(depth), bias: bias?.elements(), y: result.elements()),
        split: split.elements())
      let work = max(depth * rows, 1)
      withScope(.kernel, "4bit_multiply", operations: 2 * rows * outputs * depth) {
        Runtime.parallelFor(0..<outputs, grain: max(1, (1 << 18) / work)) { job.run($0) }
      }
    }
    withExtendedLifetime((x, bias, bytes, split, result)) {}
    return result
  }
}

private struct FourBitJob: @unchecked Sendable {
  let product: graft_4bit_product
  let split: UnsafeMutablePointer<Float>

  func run(_ range: Range<Int>) {
    withUnsafePointer(to: product) {
      graft_4bit_multiply($0, split, Int64(range.lowerBound), Int64(range.upperBound))
    }
  }
}

extension BlockScales {
  /// Calls `body` with the memory of the magnitudes, as they are stored.
  fileprivate func withMagnitudes(_ body: (graft_block_magnitudes) -> Void) {
    if case .quantized(let codes, let offset) = self, case .plain(let nested) = codes.scales {
      let (bytes, nested) = (codes.codes.contiguous(), nested.contiguous())
      codes.map.values.withUnsafeBufferPointer { code in
        body(
          graft_block_magnitudes(
            absmax: nil, codes: bytes.elements(), code: code.baseAddress,
            nested: nested.elements(), nested_size: Int64(codes.blockSize), offset: offset))
      }
      withExtendedLifetime((bytes, nested)) {}
    } else {
      let values = values.contiguous()
      body(
        graft_block_magnitudes(
          absmax: values.elements(), codes: nil, code: nil, nested: nil, nested_size: 1, offset: 0))
      withExtendedLifetime(values) {}
    }
  }
}
