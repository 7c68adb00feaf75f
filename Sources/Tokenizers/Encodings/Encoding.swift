/// What a tokenizer makes of a text or of a pair of texts: ids, and where they come from.
///
/// All arrays have one element for each id.
public struct Encoding: Equatable, Sendable {
  /// Where in its text a token stands; (0, 0) for what the post-processor or padding added.
  public struct Offsets: Equatable, Hashable, Sendable {
    /// The first character or byte.
    public var start: Int
    /// The end, which is no part of the token.
    public var end: Int

    /// Creates offsets.
    ///
    /// - Parameters:
    ///   - start: The first character or byte.
    ///   - end: The end, which is no part of the token.
    public init(_ start: Int, _ end: Int) {
      self.start = start
      self.end = end
    }
  }

  /// The ids.
  public internal(set) var ids: [Int] = []
  /// Which part of a pair an id belongs to, as the model is told.
  public internal(set) var typeIDs: [Int] = []
  /// The tokens: as the vocabulary spells them, or the text itself where an added token or a unigram
  /// model's unknown token stands for it.
  public internal(set) var tokens: [String] = []
  /// Where in its text each token stands.
  public internal(set) var offsets: [Offsets] = []
  /// The piece of the text, counted after pre-tokenization, from which a token comes, or nil.
  public internal(set) var wordIDs: [Int?] = []
  /// Whether an id was put in by the post-processor or by padding.
  public internal(set) var specialTokensMask: [Bool] = []
  /// Whether a model should look at an id: all but padding.
  public internal(set) var attentionMask: [Bool] = []
  /// What was cut off, in parts of the same length, each with its special tokens.
  public internal(set) var overflowing: [Encoding] = []
  /// The ids that come from each text; empty when all come from one.
  var sequenceRanges: [Int: Range<Int>] = [:]

  /// No ids.
  public init() {}

  /// The number of ids.
  public var count: Int { ids.count }

  /// The text from which each token comes: 0, 1, or nil for what was added.
  ///
  /// As in the reference, a text whose tokens are not known counts as all of them.
  public var sequenceIDs: [Int?] {
    var result = [Int?](repeating: nil, count: count)
    for id in 0..<max(1, sequenceRanges.count) {
      for index in sequenceRanges[id] ?? 0..<count where result.indices.contains(index) {
        result[index] = id
      }
    }
    return result
  }

  mutating func reserveCapacity(_ count: Int) {
    ids.reserveCapacity(count)
    typeIDs.reserveCapacity(count)
    tokens.reserveCapacity(count)
    offsets.reserveCapacity(count)
    wordIDs.reserveCapacity(count)
    specialTokensMask.reserveCapacity(count)
    attentionMask.reserveCapacity(count)
  }

  mutating func append(
    id: Int, token: String, offsets: Offsets, wordID: Int?, typeID: Int, isSpecial: Bool = false
  ) {
    ids.append(id)
    typeIDs.append(typeID)
    tokens.append(token)
    self.offsets.append(offsets)
    wordIDs.append(wordID)
    specialTokensMask.append(isSpecial)
    attentionMask.append(true)
  }

  mutating func setTypeID(_ typeID: Int) {
    typeIDs = [Int](repeating: typeID, count: count)
  }

  mutating func setSequenceID(_ id: Int) { sequenceRanges[id] = 0..<count }

  /// The ids of a range, without the ranges of the texts and without what overflowed.
  func slice(_ range: Range<Int>) -> Encoding {
    var result = Encoding()
    result.ids = Array(ids[range])
    result.typeIDs = Array(typeIDs[range])
    result.tokens = Array(tokens[range])
    result.offsets = Array(offsets[range])
    result.wordIDs = Array(wordIDs[range])
    result.specialTokensMask = Array(specialTokensMask[range])
    result.attentionMask = Array(attentionMask[range])
    return result
  }

  /// Appends another encoding.
  ///
  /// Each overflowing part of the one is joined with the other and with each overflowing part of it.
  mutating func append(_ other: Encoding) {
    var overflowing: [Encoding] = []
    for part in self.overflowing {
      for tail in [other] + other.overflowing { overflowing.append(part.joined(with: tail)) }
    }
    for tail in other.overflowing { overflowing.append(joined(with: tail)) }
    let start = count
    for (id, range) in other.sequenceRanges {
      sequenceRanges[id] = start + range.lowerBound..<start + range.upperBound
    }
    ids += other.ids
    typeIDs += other.typeIDs
    tokens += other.tokens
    offsets += other.offsets
    wordIDs += other.wordIDs
    specialTokensMask += other.specialTokensMask
    attentionMask += other.attentionMask
    self.overflowing = overflowing
  }

  private func joined(with other: Encoding) -> Encoding {
    var result = self
    result.append(other)
    return result
  }

  static func joining(_ encodings: [Encoding]) -> Encoding {
    guard var result = encodings.first else { return Encoding() }
    for encoding in encodings.dropFirst() { result.append(encoding) }
    return result
  }
}

/// In which unit offsets are counted.
public enum OffsetUnit: Sendable {
  /// Unicode scalars, as Python counts characters.
  case scalars
  /// Bytes of UTF-8.
  case bytes
}

/// A text to be encoded, or one that is cut into words already.
public enum TokenizerInput: Equatable, Sendable, ExpressibleByStringLiteral {
  /// A text.
  case text(String)
  /// Words that are encoded one by one; the offsets count within each word.
  case words([String])

  /// Creates the input of a text.
  ///
  /// - Parameter value: The text.
  public init(stringLiteral value: String) { self = .text(value) }
}
