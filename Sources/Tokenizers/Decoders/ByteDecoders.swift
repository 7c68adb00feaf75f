/// Reads tokens in the byte alphabet; what is not UTF-8 then becomes U+FFFD.
struct ByteLevelDecoder: TokenDecoder {
  func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
    var bytes: [UInt8] = []
    for token in tokens { token.withUnsafeBufferPointer { append($0, to: &bytes) } }
    return [Array(String(decoding: bytes, as: UTF8.self).utf8)]
  }

  /// Appends the bytes of a token; one with a character of another alphabet stands for itself.
  func append(_ token: UnsafeBufferPointer<UInt8>, to bytes: inout [UInt8]) {
    if !ByteAlphabet.append(token, to: &bytes) { bytes.append(contentsOf: token) }
  }
}

/// Joins runs of tokens `<0xXX>` to text; a run that is not UTF-8 becomes one U+FFFD for each byte.
struct ByteFallbackDecoder: TokenDecoder {
  func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
    var result: [[UInt8]] = []
    result.reserveCapacity(tokens.count)
    var run: [UInt8] = []
    func finishRun() {
      guard !run.isEmpty else { return }
      if String(validating: run, as: UTF8.self) != nil {
        result.append(run)
      } else {
        for _ in run { result.append([0xEF, 0xBF, 0xBD]) }
      }
      run.removeAll()
    }
    for token in tokens {
      if let byte = Self.byte(of: token) {
        run.append(byte)
      } else {
        finishRun()
        result.append(token)
      }
    }
    finishRun()
    return result
  }

  /// The byte of a token `<0xXX>`, or nil.
  static func byte(of token: some Collection<UInt8>) -> UInt8? {
    guard token.count == 6, token.starts(with: "<0x".utf8) else { return nil }
    let digits = token.dropFirst(3)
    guard digits.dropFirst(2).first == UInt8(ascii: ">") else { return nil }
    return UInt8(String(decoding: digits.prefix(2), as: UTF8.self), radix: 16)
  }
}
