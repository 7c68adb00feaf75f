import CKernels
package import Layers
import Tensors

extension Linear4bit: FewRowsProjection {
  /// The same numbers as those of the layer.
  package var fewRowsProduct: (any FewRowsProduct)? {
    guard device.kind == .cpu, weight.count > 0, dtype == .float32 else { return nil }
    return FourBitFewRowsProduct(weight, bias: bias?.value.detached().to(.float32))
  }
}

/// The product of few rows with a matrix in codes of 4 bits.
private final class FourBitFewRowsProduct: FewRowsProduct {
  let inputSize: Int
  let outputSize: Int
  private let weight: FourBitCodes
  private let bytes: Tensor
  private let bias: Tensor?
  /// What the magnitudes are read from, and the numbers of their codes.
  private let kept: [Tensor]
  private let code: UnsafeMutablePointer<Float>
  private let magnitudes: graft_block_magnitudes

  init(_ weight: FourBitCodes, bias: Tensor?) {
    self.weight = weight
    (outputSize, inputSize) = (weight.shape[0], weight.shape[1])
    self.bias = bias?.contiguous()
    bytes = weight.bytes.contiguous()
    let code = UnsafeMutablePointer<Float>.allocate(capacity: 256)
    code.initialize(repeating: 0, count: 256)
    self.code = code
    if case .quantized(let codes, let offset) = weight.scales,
      case .plain(let nested) = codes.scales
    {
      let (numbers, nested) = (codes.codes.contiguous(), nested.contiguous())
      code.update(from: codes.map.values, count: 256)
      magnitudes = graft_block_magnitudes(
        absmax: nil, codes: numbers.elements(), code: code, nested: nested.elements(),
        nested_size: Int64(codes.blockSize), offset: offset)
      kept = [numbers, nested]
    } else {
      let values = weight.scales.values.contiguous()
      magnitudes = graft_block_magnitudes(
        absmax: values.elements(), codes: nil, code: nil, nested: nil, nested_size: 1, offset: 0)
      kept = [values]
    }
  }

  deinit { code.deallocate() }

  func job(
    _ rows: FewRows, into result: UnsafeMutablePointer<Float>
  ) -> (Range<Int>) -> Void {
    let split = rows.form(where: { (_: SplitPairs) in true }) { SplitPairs(rows) }
    let product = graft_4bit_product(
      kind: weight.type.kind, bytes: bytes.elements(), magnitudes: magnitudes,
      block_size: Int64(weight.blockSize), rows: Int64(rows.count), outputs: Int64(outputSize),
      depth: Int64(inputSize), bias: bias?.elements(), y: result)
    let owner = self
    return { range in
      withUnsafePointer(to: product) {
        graft_4bit_multiply($0, split.values, Int64(range.lowerBound), Int64(range.upperBound))
      }
      withExtendedLifetime((owner, split)) {}
    }
  }
}

/// Few rows with numbers at even places before those at odd ones, as codes of 4 bits meet them.
private final class SplitPairs {
  let values: UnsafeMutablePointer<Float>

  init(_ rows: FewRows) {
    values = .allocate(capacity: rows.count * (rows.size + 64))
    graft_split_pairs(rows.values, Int64(rows.count), Int64(rows.size), values)
  }

  deinit { values.deallocate() }
}
