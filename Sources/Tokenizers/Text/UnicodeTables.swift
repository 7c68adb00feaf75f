import Foundation

/// What the reference's old Unicode tables say, derived once from those of Foundation and Swift.
///
/// Normalization follows Unicode 9, BERT's categories Unicode 8: scalars that were assigned later
/// have no properties there.
enum UnicodeTables {
  /// The canonical combining class.
  @inline(__always)
  static func combiningClass(of scalar: Unicode.Scalar) -> UInt8 {
    scalar.value < 0x300 ? 0 : marks.classes[scalar.value] ?? 0
  }

  /// Whether the general category is M in Unicode 9.
  static func isMark(_ value: UInt32) -> Bool { marks.all.contains(value) }

  /// Whether the general category is Mn in Unicode 8.
  static func isNonspacingMark8(_ value: UInt32) -> Bool { marks.nonspacing8.contains(value) }

  /// The full decomposition, marks not yet in order; nil for a scalar that stands for itself.
  @inline(__always)
  static func decomposition(of scalar: Unicode.Scalar, isCompatible: Bool) -> [Unicode.Scalar]? {
    isCompatible ? compatible[scalar.value] : canonical[scalar.value]
  }

  /// The primary composite of two scalars.
  @inline(__always)
  static func composition(of first: Unicode.Scalar, _ second: Unicode.Scalar) -> Unicode.Scalar? {
    if second.value < 0x300 { return nil }
    return HangulSyllable.composition(of: first.value, second.value)
      ?? compositions[UInt64(first.value) << 32 | UInt64(second.value)]
  }

  private static func age(of scalar: Unicode.Scalar) -> (Int, Int) {
    scalar.properties.age.map { ($0.major, $0.minor) } ?? (Int.max, 0)
  }

  private struct Marks {
    var classes: [UInt32: UInt8] = [:]
    var all: Set<UInt32> = []
    var nonspacing8: Set<UInt32> = []
  }

  private static let marks: Marks = {
    var marks = Marks()
    for value in chain(0x300..<0x1_2000, 0x1_6000..<0x1_F000, 0xE_0100..<0xE_01F0) {
      guard let scalar = Unicode.Scalar(value), age(of: scalar) <= (9, 0) else { continue }
      let combiningClass = scalar.properties.canonicalCombiningClass.rawValue
      if combiningClass != 0 { marks.classes[value] = combiningClass }
      switch scalar.properties.generalCategory {
      case .nonspacingMark:
        marks.all.insert(value)
        if age(of: scalar) <= (8, 0) { marks.nonspacing8.insert(value) }
      case .spacingMark, .enclosingMark: marks.all.insert(value)
      default: break
      }
    }
    marks.all.formUnion(wereMarks)
    marks.all.subtract(wereNoMarks)
    marks.nonspacing8.formUnion(wereNonspacing8)
    marks.nonspacing8.subtract(wereNotNonspacing8)
    return marks
  }()

  /// What was a mark in the old tables and is none now, and the other way around.
  private static let wereMarks: Set<UInt32> = [0x1CF2, 0x1CF3]
  private static let wereNoMarks: Set<UInt32> = [0x1_11C9]
  private static let wereNonspacing8: Set<UInt32> = [0x1734, 0x1_171E]
  private static let wereNotNonspacing8: Set<UInt32> = [0x1885, 0x1886, 0xA9BD, 0x1_11C9]

  private static func chain(_ ranges: Range<UInt32>...) -> [UInt32] { ranges.flatMap { $0 } }

  private static let canonical = decompositions { $0.decomposedStringWithCanonicalMapping }
  private static let compatible = decompositions { $0.decomposedStringWithCompatibilityMapping }

  /// The decompositions of all scalars but Hangul syllables, found in one call: between line feeds,
  /// nothing combines.
  private static func decompositions(
    _ decompose: (String) -> String
  ) -> [UInt32: [Unicode.Scalar]] {
    let candidates = chain(
      0xA0..<0x3400, 0xA000..<0xAC00, 0xF900..<0x1_0000, 0x1_0000..<0x1_2000, 0x1_D000..<0x1_F300,
      0x2_F800..<0x2_FA20
    ).compactMap { Unicode.Scalar($0) }.filter { age(of: $0) <= (9, 0) }
    var text = String.UnicodeScalarView()
    for scalar in candidates {
      text.append(scalar)
      text.append("\n")
    }
    let parts = decompose(String(text)).unicodeScalars.split(
      separator: "\n", omittingEmptySubsequences: false)
    var result: [UInt32: [Unicode.Scalar]] = [:]
    for (scalar, part) in zip(candidates, parts) where part.count != 1 || part.first != scalar {
      result[scalar.value] = Array(part)
    }
    return result
  }

  /// The pairs that compose: the last part of a decomposition with what composes the others.
  private static let compositions: [UInt64: Unicode.Scalar] = {
    // A scalar that composes again after decomposing is no exclusion.
    let composites = canonical.filter { $0.value.count >= 2 }.compactMap { value, parts in
      Unicode.Scalar(value).map { (scalar: $0, parts: parts) }
    }.filter { item in
      let text = String(String.UnicodeScalarView(item.parts))
      return text.precomposedStringWithCanonicalMapping.unicodeScalars.elementsEqual([item.scalar])
    }
    var wholes: [[Unicode.Scalar]: Unicode.Scalar] = [:]
    for item in composites { wholes[item.parts] = item.scalar }
    var result: [UInt64: Unicode.Scalar] = [:]
    for item in composites {
      let leading = Array(item.parts.dropLast())
      guard let second = item.parts.last,
        let first = leading.count == 1 ? leading[0] : wholes[leading]
      else { continue }
      result[UInt64(first.value) << 32 | UInt64(second.value)] = item.scalar
    }
    return result
  }()
}
