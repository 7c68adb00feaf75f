/// One of the four normalization forms of Unicode (UAX 15), with the tables of Unicode 9.0.
///
/// The reference's tables are that old: a scalar that was assigned later is neither decomposed nor
/// composed nor reordered.
struct UnicodeNormalizer: Normalizer {
  enum Form: Sendable {
    case composed, decomposed, compatibilityComposed, compatibilityDecomposed
  }

  let form: Form

  private var isComposed: Bool { form == .composed || form == .compatibilityComposed }
  private var isCompatible: Bool {
    form == .compatibilityComposed || form == .compatibilityDecomposed
  }

  func normalize(_ text: inout AlignedText) {
    if text.bytes.withUnsafeBufferPointer({ isUnchanged($0) }) { return }
    text.rewrite { text in
      var stretch = Stretch(isComposed: isComposed)
      var index = 0
      while index < text.old.count {
        let (value, width) = text.old.scalar(at: index)
        index += width
        if let scalar = Unicode.Scalar(value) {
          decompose(scalar) { stretch.append($0, change: $1, to: &text) }
        }
      }
      stretch.finish(&text)
    }
  }

  /// Calls `body` with the parts of the full decomposition; all but the first are additions.
  @inline(__always)
  private func decompose(
    _ scalar: Unicode.Scalar, _ body: (_ part: Unicode.Scalar, _ change: Int) -> Void
  ) {
    if scalar.value < 0xA0 {
      body(scalar, 0)
      return
    }
    if let syllable = HangulSyllable(scalar) {
      body(syllable.leading, 0)
      body(syllable.vowel, 1)
      if let trailing = syllable.trailing { body(trailing, 1) }
      return
    }
    guard let parts = UnicodeTables.decomposition(of: scalar, isCompatible: isCompatible) else {
      body(scalar, 0)
      return
    }
    var change = 0
    for part in parts {
      body(part, change)
      change = 1
    }
  }

  /// Whether the text surely is in the form already: a quick check by ranges of scalars that are
  /// neither changed nor combine with a neighbour.
  private func isUnchanged(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
    var index = 0
    while index < text.count {
      if text[index] < 0x80 {
        index += 1
        continue
      }
      let (value, width) = text.scalar(at: index)
      switch value {
      // Ideographs, but not the compatibility ones.
      case 0x3400...0x9FFF: break
      // Accented Latin, some punctuation, kana without its combining marks, Hangul syllables.
      case 0x80..<0x300, 0x2010...0x2023, 0x3000...0x3098, 0x30A0...0x30FE, 0xFF01...0xFFEF:
        if form != .composed { return false }
      default: return false
      }
      index += width
    }
    return true
  }
}

/// The decomposed scalars since the last starter: put in order, and composed on demand.
private struct Stretch {
  private typealias Item = (scalar: Unicode.Scalar, change: Int, combiningClass: UInt8)

  let isComposed: Bool
  /// A starter and the marks after it, in the order of the text.
  private var items: [Item] = []

  init(isComposed: Bool) { self.isComposed = isComposed }

  mutating func append(_ scalar: Unicode.Scalar, change: Int, to text: inout TextRewriter) {
    let combiningClass = UnicodeTables.combiningClass(of: scalar)
    if combiningClass == 0, !items.isEmpty {
      write(&text)
      // What is left is a starter, which may compose with this one.
      if let last = items.last, items.count == 1, isComposed, last.combiningClass == 0,
        let composed = UnicodeTables.composition(of: last.scalar, scalar)
      {
        items = [(composed, last.change + change - 1, 0)]
        return
      }
      for item in items { text.emit(item.scalar, change: item.change) }
      items.removeAll(keepingCapacity: true)
    }
    items.append((scalar, change, combiningClass))
  }

  mutating func finish(_ text: inout TextRewriter) {
    write(&text)
    for item in items { text.emit(item.scalar, change: item.change) }
  }

  /// Orders the marks and composes the starter with them; leaves in `items` what is to be written.
  private mutating func write(_ text: inout TextRewriter) {
    guard items.count > 1 else { return }
    let start = items[0].combiningClass == 0 ? 1 : 0
    // A stable sort: insertion is enough for a few marks, a run of many is sorted by class.
    if items.count < 32 {
      for index in items.indices.dropFirst(start + 1) {
        var place = index
        while place > start, items[place - 1].combiningClass > items[place].combiningClass {
          items.swapAt(place - 1, place)
          place -= 1
        }
      }
    } else {
      var classes = [[Item]](repeating: [], count: 256)
      for item in items[start...] { classes[Int(item.combiningClass)].append(item) }
      items.replaceSubrange(start..., with: classes.joined())
    }
    guard isComposed, start == 1 else { return }
    var kept: [Item] = []
    var lastClass: UInt8 = 0
    for item in items.dropFirst() {
      let isBlocked = !kept.isEmpty && lastClass >= item.combiningClass
      if !isBlocked,
        let composed = UnicodeTables.composition(of: items[0].scalar, item.scalar)
      {
        items[0].scalar = composed
        items[0].change += item.change - 1
        continue
      }
      kept.append(item)
      lastClass = item.combiningClass
    }
    items.removeSubrange(1...)
    items += kept
  }
}

/// A Hangul syllable, which is decomposed and composed by arithmetic.
struct HangulSyllable {
  let leading: Unicode.Scalar
  let vowel: Unicode.Scalar
  let trailing: Unicode.Scalar?

  init?(_ scalar: Unicode.Scalar) {
    guard scalar.value >= 0xAC00, scalar.value < 0xAC00 + 11172 else { return nil }
    let index = scalar.value - 0xAC00
    guard let leading = Unicode.Scalar(0x1100 + index / 588),
      let vowel = Unicode.Scalar(0x1161 + index % 588 / 28)
    else { return nil }
    self.leading = leading
    self.vowel = vowel
    trailing = index % 28 == 0 ? nil : Unicode.Scalar(0x11A7 + index % 28)
  }

  /// The syllable of two parts, or nil.
  static func composition(of first: UInt32, _ second: UInt32) -> Unicode.Scalar? {
    if first >= 0x1100, first < 0x1113, second >= 0x1161, second < 0x1176 {
      return Unicode.Scalar(0xAC00 + ((first - 0x1100) * 21 + second - 0x1161) * 28)
    }
    if first >= 0xAC00, first < 0xAC00 + 11172, (first - 0xAC00) % 28 == 0,
      second > 0x11A7, second < 0x11C3
    {
      return Unicode.Scalar(first + second - 0x11A7)
    }
    return nil
  }
}
