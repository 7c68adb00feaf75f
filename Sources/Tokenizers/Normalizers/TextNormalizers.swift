/// Maps every scalar to its full lower-case mapping, without regard to context.
struct LowercaseNormalizer: Normalizer {
  func normalize(_ text: inout AlignedText) {
    if text.isASCII {
      text.bytes.withUnsafeMutableBufferPointer { bytes in
        for index in bytes.indices {
          let byte = bytes[index]
          bytes[index] = byte | ((byte &- 0x41) < 26 ? 0x20 : 0)
        }
      }
      return
    }
    text.rewrite { text in
      var index = 0
      while index < text.old.count {
        let (value, width) = text.old.scalar(at: index)
        if value < 0x80 {
          if value >= 0x41 && value <= 0x5A {
            text.copy(through: index)
            text.replace(through: index + 1, by: CollectionOfOne(UInt8(value) + 0x20))
          }
        } else if let scalar = Unicode.Scalar(value) {
          let mapping = scalar.properties.lowercaseMapping.unicodeScalars
          if mapping.count != 1 || mapping.first != scalar {
            text.copy(through: index)
            for (offset, part) in mapping.enumerated() {
              text.emit(part, change: offset == 0 ? 0 : 1)
            }
          }
        }
        index += width
      }
      text.copy(through: index)
    }
  }
}

/// Puts a prefix before every text that is not empty.
struct PrependNormalizer: Normalizer {
  private let prefix: [UInt8]

  init(_ component: ComponentReader) throws(TokenizerError) {
    prefix = Array(try component.string("prepend").utf8)
  }

  func normalize(_ text: inout AlignedText) {
    if text.bytes.isEmpty { return }
    text.bytes.insert(contentsOf: prefix, at: 0)
    if let first = text.spans.first {
      text.spans.insert(contentsOf: repeatElement(first, count: prefix.count), at: 0)
    }
  }
}

/// Replaces every match of a string or a regular expression.
struct ReplaceNormalizer: Normalizer {
  private let pattern: TextPattern
  private let content: [UInt8]

  init(_ component: ComponentReader) throws(TokenizerError) {
    pattern = try TextPattern(component.required("pattern"))
    content = Array(try component.string("content").utf8)
  }

  func normalize(_ text: inout AlignedText) {
    text.rewrite { text in
      pattern.forEachMatch(in: text.old) { start, end in
        text.copy(through: start)
        text.remove(through: end)
        text.insert(content)
      }
      text.copy(through: text.old.count)
    }
  }
}

/// Removes white space at the ends of the text.
struct StripNormalizer: Normalizer {
  private let stripsLeft: Bool
  private let stripsRight: Bool

  init(_ component: ComponentReader) throws(TokenizerError) {
    stripsLeft = try component.bool("strip_left", default: true)
    stripsRight = try component.bool("strip_right", default: true)
  }

  func normalize(_ text: inout AlignedText) {
    let table = CharacterTable.shared
    let kept = text.bytes.withUnsafeBufferPointer { bytes in
      var start = 0
      var end = bytes.count
      while stripsLeft, start < end {
        let (classes, width) = table.classes(in: bytes, at: start)
        guard classes.contains(.space) else { break }
        start += width
      }
      while stripsRight, end > start {
        let (value, width) = bytes.scalar(before: end)
        guard table.classes(of: value).contains(.space) else { break }
        end -= width
      }
      return start..<end
    }
    text.bytes = Array(text.bytes[kept])
    if text.isTracked { text.spans = Array(text.spans[kept]) }
  }
}

/// Removes all marks (general category M of Unicode 9).
struct StripAccentsNormalizer: Normalizer {
  func normalize(_ text: inout AlignedText) {
    if text.isASCII { return }
    text.removeScalars { $0 >= 0x300 && UnicodeTables.isMark($0) }
  }
}

/// The fixed replacements of NMT models: control characters go, odd spaces become spaces.
struct NmtNormalizer: Normalizer {
  func normalize(_ text: inout AlignedText) {
    text.removeScalars {
      switch $0 {
      case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x8F, 0x9F: true
      default: false
      }
    }
    text.writeSpaces {
      switch $0 {
      case 0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD:
        true
      default: false
      }
    }
  }
}

/// Writes the bytes of the text in the byte alphabet.
struct ByteLevelNormalizer: Normalizer {
  func normalize(_ text: inout AlignedText) {
    let scalars = ByteAlphabet.scalars
    text.rewrite { text in
      for index in text.old.indices {
        text.replace(through: index + 1, by: scalars[Int(text.old[index])].utf8)
      }
    }
  }
}
