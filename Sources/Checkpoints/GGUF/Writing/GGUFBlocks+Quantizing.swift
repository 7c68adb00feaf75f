extension GGUFTensorType {
  /// The types that ``GGUFWriter`` stores.
  public static let writable: [GGUFTensorType] = [.f32, .f16, .bf16, .q80]
}

extension GGUFBlocks {
  /// A number that a storage type cannot hold.
  struct NotStorable: Error {
    let value: Float
  }

  /// Stores numbers in one of ``GGUFTensorType/writable``.
  ///
  /// The results are those of ggml's reference code, bit for bit: 16-bit types round to the nearest,
  /// ties to even; Q8_0 has d = max |x| / 127 in single precision, q = x (1 / d) rounded to the
  /// nearest, ties away from zero, and d rounded to half precision afterwards.
  static func quantize(
    _ type: GGUFTensorType, _ values: UnsafeBufferPointer<Float>
  ) throws(NotStorable) -> [UInt8] {
    switch type {
    case .f32: return Array(UnsafeRawBufferPointer(values))
    case .bf16: return words(values, FloatConversion.bfloat16)
    case .f16:
      // NaN and infinities have halves of their own; only large numbers have none.
      for value in values where value.magnitude >= 65520 && value.isFinite {
        throw NotStorable(value: value)
      }
      return words(values, FloatConversion.half)
    case .q80: return try q80(values)
    default: preconditionFailure("quantize: type \(type.name) is not written")
    }
  }

  private static func words(
    _ values: UnsafeBufferPointer<Float>, _ convert: (Float) -> UInt16
  ) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: values.count * 2) { buffer, count in
      for index in values.indices {
        let word = convert(values[index]).littleEndian
        buffer[index * 2] = UInt8(truncatingIfNeeded: word)
        buffer[index * 2 + 1] = UInt8(truncatingIfNeeded: word >> 8)
      }
      count = values.count * 2
    }
  }

  /// `d | 32 signed bytes`.
  private static func q80(
    _ values: UnsafeBufferPointer<Float>
  ) throws(NotStorable) -> [UInt8] {
    let blocks = values.count / 32
    var result = [UInt8](repeating: 0, count: blocks * 34)
    for block in 0..<blocks {
      var largest: Float = 0
      var sum: Float = 0  // not finite as soon as one element is not
      for index in block * 32..<block * 32 + 32 {
        largest = Swift.max(largest, values[index].magnitude)
        sum += values[index] - values[index]
      }
      let scale = largest / 127
      let stored = FloatConversion.half(scale)
      guard sum == 0, stored & 0x7FFF < 0x7C00 else {
        let worst = values[block * 32..<block * 32 + 32].first { !$0.isFinite } ?? largest
        throw NotStorable(value: worst)
      }
      let inverse = scale == 0 ? 0 : 1 / scale
      result[block * 34] = UInt8(truncatingIfNeeded: stored)
      result[block * 34 + 1] = UInt8(truncatingIfNeeded: stored >> 8)
      for index in 0..<32 {
        let code = (values[block * 32 + index] * inverse).rounded(.toNearestOrAwayFromZero)
        // 1 / scale is infinite where the scale is a subnormal: those elements are stored as zeros
        // times a scale that is zero in half precision.
        let whole = Int32(exactly: code).map { Swift.max(-128, Swift.min(127, $0)) } ?? 0
        result[block * 34 + 2 + index] = UInt8(bitPattern: Int8(truncatingIfNeeded: whole))
      }
    }
    return result
  }
}
