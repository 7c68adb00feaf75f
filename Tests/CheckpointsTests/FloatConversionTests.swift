import Checkpoints
import Testing

@Suite("Conversions of floats")
struct FloatConversionTests {
  @Test("Every half is exact in single precision and comes back")
  func halves() {
    var wrong = 0
    for bits in UInt16.min...UInt16.max {
      let value = FloatConversion.float(half: bits)
      if bits & 0x7FFF > 0x7C00 {
        wrong += value.isNaN && FloatConversion.half(value) & 0x7C00 == 0x7C00 ? 0 : 1
      } else {
        wrong += value.bitPattern == exact(half: bits).bitPattern ? 0 : 1
        wrong += FloatConversion.half(value) == bits ? 0 : 1
      }
    }
    #expect(wrong == 0)
  }

  /// The value by definition: sign, significand and exponent.
  private func exact(half bits: UInt16) -> Float {
    let exponent = Int(bits >> 10) & 31
    let fraction = Double(bits & 0x3FF)
    let magnitude: Double =
      switch exponent {
      case 31: .infinity
      case 0: fraction * 0x1p-24
      default: (1024 + fraction) * Double(sign: .plus, exponent: exponent - 25, significand: 1)
      }
    return Float(bits & 0x8000 == 0 ? magnitude : -magnitude)
  }

  @Test("Rounding to half goes to the nearest, ties to even, over all midpoints")
  func roundingToHalf() {
    var wrong = 0
    for bits in UInt16(0)..<0x7C00 {
      let low = Double(exact(half: bits))
      let high = bits == 0x7BFF ? 65536 : Double(exact(half: bits + 1))
      let middle = Float((low + high) / 2)
      let even = bits & 1 == 0 ? bits : bits + 1
      wrong += FloatConversion.half(middle) == even ? 0 : 1
      wrong += FloatConversion.half(middle.nextDown) == bits ? 0 : 1
      wrong += FloatConversion.half(middle.nextUp) == bits + 1 ? 0 : 1
      wrong += FloatConversion.half(-middle) == even | 0x8000 ? 0 : 1
    }
    #expect(wrong == 0)
    #expect(FloatConversion.half(.infinity) == 0x7C00)
    #expect(FloatConversion.half(.greatestFiniteMagnitude) == 0x7C00)
    #expect(FloatConversion.half(-.leastNonzeroMagnitude) == 0x8000)
    #expect(FloatConversion.half(.nan) & 0x7FFF > 0x7C00)
  }

  @Test("Rounding to bfloat16 goes to the nearest, ties to even; NaN stays NaN")
  func bfloat16() {
    var wrong = 0
    for bits in UInt16(0)..<0x7F80 {
      let middle = Float(bitPattern: UInt32(bits) << 16 | 0x8000)
      wrong += FloatConversion.bfloat16(middle) == (bits & 1 == 0 ? bits : bits + 1) ? 0 : 1
      wrong += FloatConversion.bfloat16(middle.nextDown) == bits ? 0 : 1
      wrong += FloatConversion.bfloat16(-middle.nextUp) == (bits + 1) | 0x8000 ? 0 : 1
      wrong += FloatConversion.float(bfloat16: bits).bitPattern == UInt32(bits) << 16 ? 0 : 1
    }
    #expect(wrong == 0)
    let quiet = FloatConversion.bfloat16(Float(bitPattern: 0x7F80_0001))
    #expect(FloatConversion.float(bfloat16: quiet).isNaN)
    #expect(FloatConversion.bfloat16(-.infinity) == 0xFF80)
  }
}
