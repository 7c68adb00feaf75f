/// Maps every scalar to its full lower-case mapping, without regard to context.
struct LowercaseNormalizer: Normalizer {
  func normalize(_ text: inout [UInt8]) {
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    text.withUnsafeBufferPointer { bytes in
      var index = 0
      while index < bytes.count {
        let (value, width) = bytes.scalar(at: index)
        index += width
        if value < 0x80 {
          result.append(UInt8(value) + (value >= 0x41 && value <= 0x5A ? 0x20 : 0))
        } else if let scalar = Unicode.Scalar(value) {
          result.append(contentsOf: scalar.properties.lowercaseMapping.utf8)
        }
      }
    }
    text = result
  }
}

/// Puts a prefix before every text that is not empty.
struct PrependNormalizer: Normalizer {
  private let prefix: [UInt8]

  init(_ component: ComponentReader) throws(TokenizerError) {
    prefix = Array(try component.string("prepend").utf8)
  }

  func normalize(_ text: inout [UInt8]) {
    if !text.isEmpty { text.insert(contentsOf: prefix, at: 0) }
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

  func normalize(_ text: inout [UInt8]) {
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    text.withUnsafeBufferPointer { pattern.replaceMatches(in: $0, by: content, into: &result) }
    text = result
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

  func normalize(_ text: inout [UInt8]) {
    let table = CharacterTable.shared
    text = text.withUnsafeBufferPointer { bytes in
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
      return Array(bytes[start..<end])
    }
  }
}
