package import Tensors

// Decoding by tensor operators, where the codes are not in the processor's memory. The kernels' numbers,
// in the same order of operations. `gathered` because it alone runs on the meta device.

extension BlockwiseCodes {
  /// As ``dequantized(_:)``, on any device.
  package func decodedByOperators(_ wanted: DType) -> Tensor {
    let numbers = Tensor(map.values).to(device: codes.device)
      .gathered(0, codes.reshaped([-1]).to(.int64))
    return (numbers * scales.values.spread(over: codes.count, blockSize: blockSize))
      .reshaped(codes.shape).to(wanted)
  }
}

extension RowCodes {
  /// As ``dequantized(_:)``, on any device.
  package func decodedByOperators(_ wanted: DType) -> Tensor {
    (codes.to(.float32) * scales.unsqueezed(1) * Double(Float(1) / 127)).to(wanted)
  }
}

extension FourBitCodes {
  /// As ``dequantized(_:)``, on any device.
  package func decodedByOperators(_ wanted: DType) -> Tensor {
    let pairs = bytes.reshaped([-1]).to(.float32)
    let first = (pairs * 0.0625).to(.int64)  // Cut off, so the upper half.
    let second = (pairs - first.to(.float32) * 16.0).to(.int64)
    let codes = Tensor.stacked([first, second], dimension: 1).reshaped([-1])
    let numbers = Tensor(type.values).to(device: bytes.device)
      .gathered(0, codes.narrowed(0, 0..<count))
    return (numbers * scales.values.spread(over: count, blockSize: blockSize))
      .reshaped(shape).to(wanted)
  }
}

extension Tensor {
  /// The value of its block for each element.
  fileprivate func spread(over count: Int, blockSize: Int) -> Tensor {
    // A block may be larger than the tensor.
    unsqueezed(1).expanded([self.count, Swift.min(blockSize, count)]).reshaped([-1])
      .narrowed(0, 0..<count)
  }
}
