import Foundation

/// The compiled replacements of a SentencePiece model: a double-array trie and the texts it names.
///
/// The text is taken by grapheme clusters. One of fewer than six bytes is looked up as a whole, and
/// then the shortest key that it begins with decides; the characters of others are looked up singly.
///
/// Source: the format of SentencePiece's `precompiled_charsmap`, read as Hugging Face does.
struct PrecompiledNormalizer: Normalizer {
  private let units: [UInt32]
  private let texts: [UInt8]
  /// Whether the trie has a key of that one ASCII byte.
  private let asciiKeys: [Bool]

  init(_ component: ComponentReader) throws(TokenizerError) {
    let reader = try component.required("precompiled_charsmap")
    guard let data = Data(base64Encoded: try reader.stringValue()) else {
      throw reader.problem("expected base64")
    }
    try self.init(charsMap: Array(data), reader)
  }

  private init(charsMap: [UInt8], _ reader: ComponentReader) throws(TokenizerError) {
    guard charsMap.count >= 4 else { throw reader.problem("expected at least 4 bytes") }
    func word(_ index: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(charsMap[index + $1]) << (8 * UInt32($1)) }
    }
    let size = Int(word(0))
    guard size >= 4, size % 4 == 0, size <= charsMap.count - 4 else {
      throw reader.problem("says that its trie has \(size) bytes, of \(charsMap.count - 4)")
    }
    units = stride(from: 4, to: 4 + size, by: 4).map(word)
    texts = Array(charsMap[(4 + size)...])
    guard String(validating: texts, as: UTF8.self) != nil else {
      throw reader.problem("has replacements that are no UTF-8")
    }
    let units = units
    asciiKeys = (0..<128).map { byte in
      withUnsafeBytes(of: UInt8(byte)) { key in
        Self.value(of: key.bindMemory(to: UInt8.self), in: units) != nil
      }
    }
  }

  func normalize(_ text: inout AlignedText) {
    if text.bytes.allSatisfy({ $0 < 0x80 && $0 != 0x0D && !asciiKeys[Int($0)] }) { return }
    text.rewrite { text in
      var output = Output(text: text)
      let count = text.old.count
      var index = 0
      while index < count {
        let byte = text.old[index]
        if byte < 0x80, byte != 0x0D, index + 1 == count || text.old[index + 1] < 0x80 {
          // ASCII before ASCII is a cluster of its own.
          if !asciiKeys[Int(byte)] || !apply(index, index + 1, &output) {
            output.keep(index)
          }
          index += 1
          continue
        }
        let stretch = Self.clusterStretch(text.old, from: index)
        for character in String(decoding: text.old[index..<stretch], as: UTF8.self) {
          let end = index + character.utf8.count
          if end - index >= 6 || !apply(index, end, &output) {
            var part = index
            while part < end {
              let width = text.old.scalar(at: part).width
              if !apply(part, part + width, &output) { output.keep(part) }
              part += width
            }
          }
          index = end
        }
      }
      text = output.finish()
    }
  }

  /// What was written so far.
  ///
  /// With spans, it is kept as characters with the reference's measure of change, because a
  /// replacement by nothing changes the measure of the character before it, and is forgotten where
  /// there is none.
  private struct Output {
    var text: TextRewriter
    var changes: [(scalar: Unicode.Scalar, change: Int)] = []

    @inline(__always)
    mutating func keep(_ start: Int) {
      guard text.isTracked else { return }
      if let scalar = Unicode.Scalar(text.old.scalar(at: start).value) {
        changes.append((scalar, 0))
      }
    }

    mutating func replace(
      _ start: Int, _ end: Int, by part: UnsafeBufferPointer<UInt8>
    ) {
      guard text.isTracked else {
        text.copy(through: start)
        text.replace(through: end, by: part)
        return
      }
      var surplus = 0
      part.forEachScalar { value, _ in
        if let scalar = Unicode.Scalar(value) { changes.append((scalar, 0)) }
        surplus += 1
      }
      text.old.slice(start, end).forEachScalar { _, _ in surplus -= 1 }
      if surplus > 0 {
        for index in changes.count - surplus..<changes.count { changes[index].change = 1 }
      } else if surplus < 0, !changes.isEmpty {
        changes[changes.count - 1].change += surplus
      }
    }

    mutating func finish() -> TextRewriter {
      for (scalar, change) in changes { text.emit(scalar, change: change) }
      if !text.isTracked { text.copy(through: text.old.count) }
      return text
    }
  }

  /// The end of a stretch of clusters: where two ASCII characters meet, or the end of the text.
  private static func clusterStretch(_ text: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
    var index = start
    while index < text.count {
      // Two ASCII characters are never in one cluster, but for a carriage return and a line feed.
      if text[index] < 0x80, text[index] != 0x0D, index + 1 < text.count, text[index + 1] < 0x80 {
        return index + 1
      }
      index += 1
    }
    return index
  }

  /// Replaces the old text from `start` to `end` if the trie says so.
  private func apply(_ start: Int, _ end: Int, _ output: inout Output) -> Bool {
    guard let value = Self.value(of: output.text.old.slice(start, end), in: units) else {
      return false
    }
    let first = min(value, texts.count)
    // A value that points into a character is no replacement.
    if first < texts.count, texts[first] & 0xC0 == 0x80 { return false }
    let last = texts[first...].firstIndex(of: 0) ?? texts.count
    texts.withUnsafeBufferPointer { output.replace(start, end, by: $0.slice(first, last)) }
    return true
  }

  /// The value of the shortest key with which the bytes begin.
  private static func value(of key: UnsafeBufferPointer<UInt8>, in units: [UInt32]) -> Int? {
    func offset(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & 0x200) >> 6)) }
    var node = offset(units[0])
    for byte in key {
      if byte == 0 { return nil }
      node ^= Int(byte)
      guard node < units.count, units[node] & 0x8000_00FF == UInt32(byte) else { return nil }
      let unit = units[node]
      node ^= offset(unit)
      if unit & 0x100 != 0 {
        guard node < units.count else { return nil }
        return Int(units[node] & 0x7FFF_FFFF)
      }
    }
    return nil
  }
}
