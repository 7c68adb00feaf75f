/// Label of a position that nothing is asked for.
public let ignoredLabelID: Int32 = -100

/// One training example as token ids.
public struct TokenizedExample: Equatable, Sendable {
  /// The tokens.
  public var ids: [Int32]
  /// The token that is right at each position (not shifted), or -100 where nothing is asked.
  public var labels: [Int32]

  /// Makes an example.
  ///
  /// - Parameters:
  ///   - ids: The tokens.
  ///   - labels: As many labels.
  public init(ids: [Int32], labels: [Int32]) {
    precondition(ids.count == labels.count, "TokenizedExample: \(ids.count) != \(labels.count)")
    self.ids = ids
    self.labels = labels
  }

  /// Labels that count: not ignored and not the first position, which nothing predicts.
  public var targetCount: Int { labels.dropFirst().count { $0 != ignoredLabelID } }
}

/// A hash of encoded data, by which a resumed run recognises that it is still the same.
///
/// FNV-1a over 64 bits (Fowler, Noll and Vo), fed with every id and label.
///
/// - Parameter examples: The data in the order of the file.
/// - Returns: 16 hexadecimal digits.
public func fingerprint(of examples: [TokenizedExample]) -> String {
  var hash: UInt64 = 0xcbf2_9ce4_8422_2325
  func feed(_ value: Int32) {
    for shift in stride(from: 0, to: 32, by: 8) {
      hash ^= UInt64(UInt32(bitPattern: value) >> UInt32(shift) & 0xff)
      hash = hash &* 0x100_0000_01b3
    }
  }
  for example in examples {
    feed(Int32(example.ids.count))
    example.ids.forEach(feed)
    example.labels.forEach(feed)
  }
  let digits = String(hash, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
