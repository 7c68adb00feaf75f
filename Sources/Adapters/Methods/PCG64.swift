/// The random numbers that NumPy's `default_rng(seed)` gives, where a format is defined by them.
///
/// Source: O'Neill 2014, "PCG: a family of simple fast space-efficient statistically good algorithms for
/// random number generation" (XSL-RR of 128 bits); the seed goes through NumPy's SeedSequence; numbers
/// below a bound by Lemire 2019, arXiv 1805.10941; distinct ones by Floyd (Bentley and Floyd 1987).
struct PCG64 {
  private var state: UInt128 = 0
  private let increment: UInt128
  /// The upper half of a number of which only the lower one was used.
  private var rest: UInt32?

  /// - Parameter seed: Not negative.
  init(seed: Int) {
    let words = Self.seedWords(UInt64(seed))
    increment = (UInt128(words[2]) << 64 | UInt128(words[3])) << 1 | 1
    advance()
    state &+= UInt128(words[0]) << 64 | UInt128(words[1])
    advance()
  }

  private mutating func advance() {
    let factor = UInt128(0x2360_ED05_1FC6_5DA4) << 64 | 0x4385_DF64_9FCC_F645
    state = state &* factor &+ increment
  }

  private mutating func next64() -> UInt64 {
    advance()
    let mixed = UInt64(truncatingIfNeeded: state >> 64) ^ UInt64(truncatingIfNeeded: state)
    let turn = UInt64(truncatingIfNeeded: state >> 122)
    return mixed >> turn | mixed << ((64 - turn) & 63)
  }

  private mutating func next32() -> UInt32 {
    if let rest {
      self.rest = nil
      return rest
    }
    let value = next64()
    rest = UInt32(truncatingIfNeeded: value >> 32)
    return UInt32(truncatingIfNeeded: value)
  }

  /// Uniform from 0 up to the largest, by multiplication.
  private mutating func multiplied(upTo largest: UInt32) -> UInt32 {
    guard largest > 0 else { return 0 }
    let count = UInt64(largest) + 1
    var product = UInt64(next32()) * count
    if UInt32(truncatingIfNeeded: product) < UInt32(truncatingIfNeeded: count) {
      let threshold = UInt64(UInt32.max - largest) % count
      while UInt64(UInt32(truncatingIfNeeded: product)) < threshold {
        product = UInt64(next32()) * count
      }
    }
    return UInt32(product >> 32)
  }

  /// Uniform from 0 up to the largest, by leaving out what is too large.
  private mutating func masked(upTo largest: UInt32) -> UInt32 {
    let mask = UInt32.max >> largest.leadingZeroBitCount
    while true {
      let value = next32() & mask
      if value <= largest { return value }
    }
  }

  /// Puts elements into a random order, as NumPy's `shuffle` does with an array of one dimension.
  mutating func shuffle(_ values: inout [Int]) {
    for index in stride(from: values.count - 1, to: 0, by: -1) {
      values.swapAt(index, Int(masked(upTo: UInt32(index))))
    }
  }

  /// Distinct numbers below `total`, as NumPy's `choice(total, count, replace=False)`.
  mutating func choose(_ count: Int, below total: Int) -> [Int] {
    guard count > 0 else { return [] }
    func mix(_ values: inout [Int], from first: Int, _ generator: inout PCG64) {
      for index in stride(from: values.count - 1, through: first, by: -1) {
        values.swapAt(index, Int(generator.multiplied(upTo: UInt32(index))))
      }
    }
    if total > 10_000 && count > total / 50 {
      var all = Array(0..<total)
      mix(&all, from: max(total - count, 1), &self)
      return Array(all.suffix(count))
    }
    var (seen, chosen): (Set<Int>, [Int]) = ([], [])
    for limit in total - count..<total {
      let drawn = Int(multiplied(upTo: UInt32(limit)))
      let value = seen.contains(drawn) ? limit : drawn
      seen.insert(value)
      chosen.append(value)
    }
    mix(&chosen, from: 1, &self)
    return chosen
  }

  /// Four words of a generator's state from a seed.
  private static func seedWords(_ seed: UInt64) -> [UInt64] {
    let entropy = [UInt32(truncatingIfNeeded: seed), UInt32(seed >> 32)]
    var constant: UInt32 = 0x43B0_D7E5
    func hashed(_ value: UInt32) -> UInt32 {
      var value = value ^ constant
      constant &*= 0x931E_8875
      value &*= constant
      return value ^ value >> 16
    }
    func mixed(_ left: UInt32, _ right: UInt32) -> UInt32 {
      let value = left &* 0xCA01_F9DD &- right &* 0x4973_F715
      return value ^ value >> 16
    }
    var pool = [hashed(entropy[0]), hashed(entropy[1]), hashed(0), hashed(0)]
    for source in 0..<4 {
      for target in 0..<4 where target != source {
        pool[target] = mixed(pool[target], hashed(pool[source]))
      }
    }
    constant = 0x8B51_F9DD
    let words = (0..<8).map { index -> UInt32 in
      var value = pool[index % 4] ^ constant
      constant &*= 0x58F3_8DED
      value &*= constant
      return value ^ value >> 16
    }
    return (0..<4).map { UInt64(words[2 * $0]) | UInt64(words[2 * $0 + 1]) << 32 }
  }
}
