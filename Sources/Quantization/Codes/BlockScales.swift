public import Tensors

/// The largest magnitude of each block, as it is or itself quantised (double quantisation).
public indirect enum BlockScales {
  /// float32 `[blocks]`.
  case plain(Tensor)
  /// Magnitudes less their mean in blockwise codes of 8 bits, and the mean.
  case quantized(BlockwiseCodes, offset: Float)

  /// The magnitudes as numbers.
  ///
  /// - Returns: float32 `[blocks]`; `plain` returns its own tensor.
  public var values: Tensor {
    switch self {
    case .plain(let values): values
    case .quantized(let codes, let offset): codes.dequantized(.float32) + Double(offset)
    }
  }

  /// Whether the magnitudes are quantised themselves.
  public var areQuantized: Bool {
    if case .quantized = self { true } else { false }
  }

  /// How many magnitudes there are.
  public var count: Int {
    switch self {
    case .plain(let values): values.count
    case .quantized(let codes, _): codes.codes.count
    }
  }

  /// Stops the program unless there is a magnitude for each block: kernels read them unchecked.
  func requireCount(of elements: Int, blockSize: Int, in caller: StaticString) {
    precondition(blockSize > 0, "\(caller): a block of \(blockSize) elements")
    let blocks = blockCount(elements, blockSize)
    precondition(count == blocks, "\(caller): \(count) scales of \(blocks) blocks")
    if case .plain(let values) = self {
      precondition(values.dtype == .float32, "\(caller): scales of type \(values.dtype)")
    }
  }

  /// The same scales on a device.
  ///
  /// - Parameter device: Where they go.
  /// - Returns: Scales over tensors there.
  public func moved(to device: Device) -> BlockScales {
    switch self {
    case .plain(let values): .plain(values.to(device: device))
    case .quantized(let codes, let offset):
      .quantized(
        BlockwiseCodes(
          codes: codes.codes.to(device: device), scales: codes.scales.moved(to: device),
          blockSize: codes.blockSize, map: codes.map, dtype: codes.dtype), offset: offset)
    }
  }

  /// Bytes that the scales take.
  public var byteCount: Int {
    switch self {
    case .plain(let values): values.byteCount
    // The offset is one float32; the table of codes is shared.
    case .quantized(let codes, _): codes.byteCount + 4
    }
  }

  /// Quantises magnitudes: their mean is taken off, then blockwise codes by the signed dynamic map.
  ///
  /// - Parameters:
  ///   - values: float32 `[blocks]`.
  ///   - blockSize: Magnitudes of a block.
  /// - Returns: The quantised magnitudes.
  /// - Note: Source: Dettmers et al. 2023, arXiv 2305.14314, section 3.
  public static func quantizing(_ values: Tensor, blockSize: Int) -> BlockScales {
    let offset = values.mean([0])
    let codes = BlockwiseCodes(quantizing: values - offset, map: .dynamic, blockSize: blockSize)
    return .quantized(codes, offset: Float(offset.item()))
  }
}
