/// The arithmetic of ggml's storage types.
///
/// Bits and scales are taken apart as `ggml-quants.c` documents them. The order of the floating
/// point operations is that of the `gguf` Python package, so the results are the same bit for bit.
enum GGUFBlocks {
  /// Converts `elementCount` elements of a type in ``GGUFTensorType/dequantizable``.
  static func dequantize(
    _ type: GGUFTensorType, _ source: UnsafeRawPointer, elementCount: Int,
    into output: UnsafeMutablePointer<Float>
  ) {
    let blocks = elementCount / type.blockSize
    switch type {
    case .f32:
      output.withMemoryRebound(to: UInt8.self, capacity: elementCount * 4) { target in
        UnsafeMutableRawPointer(target).copyMemory(from: source, byteCount: elementCount * 4)
      }
    case .f16:
      for index in 0..<elementCount {
        output[index] = FloatConversion.float(half: half(source, index * 2))
      }
    case .bf16:
      for index in 0..<elementCount {
        output[index] = FloatConversion.float(bfloat16: half(source, index * 2))
      }
    case .q40: each(blocks, 18, 32, source, output, q40)
    case .q41: each(blocks, 20, 32, source, output, q41)
    case .q50: each(blocks, 22, 32, source, output, q50)
    case .q51: each(blocks, 24, 32, source, output, q51)
    case .q80: each(blocks, 34, 32, source, output, q80)
    case .q2K: each(blocks, 84, 256, source, output, q2K)
    case .q3K: each(blocks, 110, 256, source, output, q3K)
    case .q4K: each(blocks, 144, 256, source, output, q4K)
    case .q5K: each(blocks, 176, 256, source, output, q5K)
    case .q6K: each(blocks, 210, 256, source, output, q6K)
    default: preconditionFailure("dequantize: type \(type.name) is not supported")
    }
  }

  @inline(__always)
  private static func each(
    _ blocks: Int, _ blockBytes: Int, _ blockSize: Int, _ source: UnsafeRawPointer,
    _ output: UnsafeMutablePointer<Float>,
    _ body: (UnsafePointer<UInt8>, UnsafeMutablePointer<Float>) -> Void
  ) {
    let bytes = source.assumingMemoryBound(to: UInt8.self)
    for block in 0..<blocks {
      body(bytes + block * blockBytes, output + block * blockSize)
    }
  }

  @inline(__always)
  private static func half(_ source: UnsafeRawPointer, _ offset: Int) -> UInt16 {
    UInt16(littleEndian: source.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }

  @inline(__always)
  private static func scale(_ block: UnsafePointer<UInt8>, _ offset: Int) -> Float {
    FloatConversion.float(half: half(UnsafeRawPointer(block), offset))
  }

  // MARK: Blocks of 32

  /// `d | 16 bytes of low and high nibbles`: d (q - 8).
  private static func q40(_ block: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<Float>) {
    let d = scale(block, 0)
    for index in 0..<16 {
      let byte = block[2 + index]
      output[index] = d * Float(Int32(byte & 15) - 8)
      output[index + 16] = d * Float(Int32(byte >> 4) - 8)
    }
  }

  /// `d | m | nibbles`: d q + m.
  private static func q41(_ block: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<Float>) {
    let d = scale(block, 0)
    let m = scale(block, 2)
    for index in 0..<16 {
      let byte = block[4 + index]
      output[index] = d * Float(Int32(byte & 15)) + m
      output[index + 16] = d * Float(Int32(byte >> 4)) + m
    }
  }

  /// `d | 32 fifth bits | nibbles`: d (q - 16).
  private static func q50(_ block: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<Float>) {
    let d = scale(block, 0)
    let high = fifthBits(block + 2)
    for index in 0..<16 {
      let byte = UInt32(block[6 + index])
      let low = (byte & 15) | ((high >> UInt32(index)) & 1) << 4
      let upper = (byte >> 4) | ((high >> UInt32(index + 16)) & 1) << 4
      output[index] = d * Float(Int32(low) - 16)
      output[index + 16] = d * Float(Int32(upper) - 16)
    }
  }

  /// `d | m | 32 fifth bits | nibbles`: d q + m.
  private static func q51(_ block: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<Float>) {
    let d = scale(block, 0)
    let m = scale(block, 2)
    let high = fifthBits(block + 4)
    for index in 0..<16 {
      let byte = UInt32(block[8 + index])
      let low = (byte & 15) | ((high >> UInt32(index)) & 1) << 4
      let upper = (byte >> 4) | ((high >> UInt32(index + 16)) & 1) << 4
      output[index] = d * Float(Int32(low)) + m
      output[index + 16] = d * Float(Int32(upper)) + m
    }
  }

  @inline(__always)
  private static func fifthBits(_ bytes: UnsafePointer<UInt8>) -> UInt32 {
    UInt32(littleEndian: UnsafeRawPointer(bytes).loadUnaligned(as: UInt32.self))
  }

  /// `d | 32 signed bytes`: q d.
  private static func q80(_ block: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<Float>) {
    let d = scale(block, 0)
    for index in 0..<32 {
      output[index] = Float(Int32(Int8(bitPattern: block[2 + index]))) * d
    }
  }

  // MARK: Blocks of 256

  /// `16 scales (low) and minima (high nibble) | 64 bytes of pairs of bits | d | dmin`.
  private static func q2K(_ block: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<Float>) {
    let d = scale(block, 80)
    let dmin = scale(block, 82)
    for group in 0..<16 {  // 16 elements each
      let dl = d * Float(Int32(block[group] & 15))
      let ml = dmin * Float(Int32(block[group] >> 4))
      let bytes = block + 16 + (group / 8) * 32 + (group % 2) * 16
      let shift = UInt8((group / 2) % 4 * 2)
      for index in 0..<16 {
        output[group * 16 + index] = dl * Float(Int32((bytes[index] >> shift) & 3)) - ml
      }
    }
  }

  /// `32 bytes of third bits | 64 bytes of pairs of bits | 12 bytes of 6-bit scales | d`.
  ///
  /// A third bit of 0 subtracts 4; scales are offset by 32.
  private static func q3K(_ block: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<Float>) {
    let d = scale(block, 108)
    let scales = block + 96
    for group in 0..<16 {
      let low = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4
      let high = (scales[8 + group % 4] >> UInt8(group / 4 * 2)) & 3
      let dl = d * Float(Int32(low | high << 4) - 32)
      let bytes = block + 32 + (group / 8) * 32 + (group % 2) * 16
      let masks = block + (group % 2) * 16
      let shift = UInt8((group / 2) % 4 * 2)
      let bit = UInt8(group / 2)
      for index in 0..<16 {
        let third = Int32((masks[index] >> bit) & 1)
        let q = Int32((bytes[index] >> shift) & 3) - (1 - third) * 4
        output[group * 16 + index] = dl * Float(q)
      }
    }
  }

  /// `d | dmin | 12 bytes of 6-bit scales and minima | 128 bytes of nibbles`.
  private static func q4K(_ block: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<Float>) {
    let d = scale(block, 0)
    let dmin = scale(block, 2)
    for group in 0..<8 {  // 32 elements each
      let (sc, m) = scaleAndMinimum(block + 4, group)
      let dl = d * Float(sc)
      let ml = dmin * Float(m)
      let bytes = block + 16 + (group / 2) * 32
      let shift = UInt8(group % 2 * 4)
      for index in 0..<32 {
        output[group * 32 + index] = dl * Float(Int32((bytes[index] >> shift) & 15)) - ml
      }
    }
  }

  /// `d | dmin | 12 bytes of scales and minima | 32 bytes of fifth bits | 128 bytes of nibbles`.
  private static func q5K(_ block: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<Float>) {
    let d = scale(block, 0)
    let dmin = scale(block, 2)
    let highs = block + 16
    for group in 0..<8 {
      let (sc, m) = scaleAndMinimum(block + 4, group)
      let dl = d * Float(sc)
      let ml = dmin * Float(m)
      let bytes = block + 48 + (group / 2) * 32
      let shift = UInt8(group % 2 * 4)
      let bit = UInt8(group)
      for index in 0..<32 {
        let q = ((bytes[index] >> shift) & 15) | ((highs[index] >> bit) & 1) << 4
        output[group * 32 + index] = dl * Float(Int32(q)) - ml
      }
    }
  }

  /// The 6-bit scale and minimum of one of 8 groups, from the 12 bytes that Q4_K and Q5_K share.
  @inline(__always)
  private static func scaleAndMinimum(
    _ bytes: UnsafePointer<UInt8>, _ group: Int
  ) -> (scale: Int32, minimum: Int32) {
    if group < 4 {
      return (Int32(bytes[group] & 63), Int32(bytes[group + 4] & 63))
    }
    let low = bytes[group + 4]
    let scale = (low & 15) | (bytes[group - 4] >> 6) << 4
    let minimum = (low >> 4) | (bytes[group] >> 6) << 4
    return (Int32(scale), Int32(minimum))
  }

  /// `128 bytes of nibbles | 64 bytes of upper pairs of bits | 16 signed scales | d`.
  private static func q6K(_ block: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<Float>) {
    let d = scale(block, 208)
    for group in 0..<16 {
      let dl = d * Float(Int32(Int8(bitPattern: block[192 + group])))
      let quarter = (group / 2) % 4  // of a half of 128 elements
      let offset = (group % 2) * 16
      let lows = block + (group / 8) * 64 + (quarter % 2) * 32 + offset
      let highs = block + 128 + (group / 8) * 32 + offset
      let lowShift = UInt8(quarter / 2 * 4)
      let highShift = UInt8(quarter * 2)
      for index in 0..<16 {
        let q = ((lows[index] >> lowShift) & 15) | ((highs[index] >> highShift) & 3) << 4
        output[group * 16 + index] = dl * Float(Int32(q) - 32)
      }
    }
  }
}
