/// A hash of encoded data, by which a resumed run recognises that it is still the same.
///
/// FNV-1a over 64 bits (Fowler, Noll and Vo), fed with the length, the ids, the labels and, if any, the
/// task, the segments, what is right for the row and what a decoder has to write, of every example as
/// 32-bit numbers, lowest byte first. It finds accidents, not attacks.
///
/// - Parameter examples: The data in the order of the file.
/// - Returns: 16 hexadecimal digits.
public func fingerprint(of examples: [TokenizedExample]) -> String {
  var hash = FNV1a()
  hash.feed(examples)
  return hash.digits
}

extension BatchSampler {
  /// A hash of all that the order of batches depends on: the encoded data and the options.
  ///
  /// - Complexity: Linear in the number of tokens.
  public var orderFingerprint: String {
    var hash = FNV1a()
    hash.feed(examples)
    hash.feed(Int32(options.batchSize))
    hash.feed(options.shuffles ? 1 : 0)
    hash.feed(options.groupsByLength ? 1 : 0)
    hash.feed(Int32(options.packingLength ?? 0))
    hash.feed(Int32(truncatingIfNeeded: options.seed))
    hash.feed(Int32(truncatingIfNeeded: options.seed >> 32))
    if let masking = options.masking { hash.feed(masking) }
    return hash.digits
  }
}

/// The hash function FNV-1a with 64 bits.
struct FNV1a {
  private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

  mutating func feed(byte: UInt8) {
    value = (value ^ UInt64(byte)) &* 0x100_0000_01b3
  }

  mutating func feed(_ number: Int32) {
    let bits = UInt32(bitPattern: number)
    for shift in [0, 8, 16, 24] as [UInt32] { feed(byte: UInt8(truncatingIfNeeded: bits >> shift)) }
  }

  mutating func feed(_ examples: [TokenizedExample]) {
    for example in examples {
      feed(Int32(example.ids.count))
      for id in example.ids { feed(id) }
      for label in example.labels { feed(label) }
      if let task = example.task { feed(Int32(truncatingIfNeeded: task)) }
      for type in example.tokenTypes ?? [] { feed(type) }
      for number in example.target ?? [] {
        feed(Int32(truncatingIfNeeded: number.bitPattern))
        feed(Int32(truncatingIfNeeded: number.bitPattern >> 32))
      }
      if let written = example.decoderLabels {
        feed(Int32(written.count))
        for label in written { feed(label) }
      }
    }
  }

  mutating func feed(_ masking: TokenMasking) {
    feed(Int32(truncatingIfNeeded: masking.probability.bitPattern))
    feed(Int32(truncatingIfNeeded: masking.probability.bitPattern >> 32))
    feed(masking.maskID)
    feed(Int32(truncatingIfNeeded: masking.vocabularySize))
    for id in masking.specialIDs.sorted() { feed(id) }
    feed(Int32(truncatingIfNeeded: masking.seed))
    feed(Int32(truncatingIfNeeded: masking.seed >> 32))
  }

  /// 16 hexadecimal digits.
  var digits: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
