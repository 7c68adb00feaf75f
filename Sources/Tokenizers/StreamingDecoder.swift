/// Decodes ids one by one, giving out text as soon as it is final.
///
/// The texts joined are what `Tokenizer.decode` makes of all the ids. What may still change is held
/// back: the first bytes of a character, a run of byte tokens, a replacement character at the end.
public struct StreamingDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipsSpecialTokens: Bool
  /// The bytes that are not yet characters; used when all decoding is byte-level.
  private var bytes: [UInt8] = []
  /// The ids of the window: some whose text is out already, for context, then the others.
  private var window: [Int] = []
  private var contextCount = 0
  /// The bytes of text of the context.
  private var contextLength = 0

  init(_ tokenizer: Tokenizer, skipsSpecialTokens: Bool) {
    self.tokenizer = tokenizer
    self.skipsSpecialTokens = skipsSpecialTokens
  }

  /// Takes the next id.
  ///
  /// - Parameter id: The id; one that is not in the vocabulary has no text.
  /// - Returns: The text that has become final, often empty.
  public mutating func append(_ id: Int) -> String {
    guard tokenizer.isDecoded(id, skippingSpecialTokens: skipsSpecialTokens) else { return "" }
    if tokenizer.decodesBytes {
      bytes.append(contentsOf: tokenizer.texts[id])
      return takeCompleteCharacters()
    }
    window.append(id)
    if tokenizer.isHeldBack(id) { return "" }
    let text = tokenizer.decodedBytes(of: window)
    guard text.count > contextLength, !text.ends(with: [0xEF, 0xBF, 0xBD]) else { return "" }
    let new = String(decoding: text[contextLength...], as: UTF8.self)
    // One token of the old context stays: what a chain of decoders makes of a token may depend on
    // whether it is the first one.
    window.removeFirst(max(0, contextCount - 1))
    contextCount = window.count
    contextLength = tokenizer.decodedBytes(of: window).count
    return new
  }

  /// Ends the stream.
  ///
  /// - Returns: The rest of the text; incomplete characters become U+FFFD.
  public mutating func finish() -> String {
    defer {
      bytes = []
      window = []
      contextCount = 0
      contextLength = 0
    }
    if tokenizer.decodesBytes { return String(decoding: bytes, as: UTF8.self) }
    let text = tokenizer.decodedBytes(of: window)
    return String(decoding: text.dropFirst(contextLength), as: UTF8.self)
  }

  /// Takes everything but the beginning of a character at the end.
  private mutating func takeCompleteCharacters() -> String {
    let held = bytes.withUnsafeBufferPointer { Self.incompleteSuffix(of: $0) }
    let count = bytes.count - held
    guard count > 0 else { return "" }
    let text = String(decoding: bytes.prefix(count), as: UTF8.self)
    bytes.removeFirst(count)
    return text
  }

  /// How many bytes at the end are a beginning of a character that more bytes could complete.
  ///
  /// The second byte is looked at too: after some leads not every continuation byte is allowed.
  private static func incompleteSuffix(of bytes: UnsafeBufferPointer<UInt8>) -> Int {
    for length in 1...3 where length <= bytes.count {
      let lead = bytes[bytes.count - length]
      if lead & 0xC0 == 0x80 { continue }
      let needed: Int
      switch lead {
      case 0xC2...0xDF: needed = 2
      case 0xE0...0xEF: needed = 3
      case 0xF0...0xF4: needed = 4
      default: return 0
      }
      guard length < needed else { return 0 }
      if length >= 2 {
        let second = bytes[bytes.count - length + 1]
        switch lead {
        case 0xE0 where second < 0xA0, 0xED where second > 0x9F: return 0
        case 0xF0 where second < 0x90, 0xF4 where second > 0x8F: return 0
        default: break
        }
      }
      return length
    }
    return 0
  }
}

extension [UInt8] {
  fileprivate func ends(with suffix: [UInt8]) -> Bool {
    self.suffix(suffix.count) == suffix[...]
  }
}
