/// How an encoding that is too long is cut.
public struct Truncation: Equatable, Sendable {
  /// Which text of a pair is cut.
  public enum Strategy: String, Sendable {
    /// The longer one, or both to half of the length.
    case longestFirst = "LongestFirst"
    /// The first one.
    case onlyFirst = "OnlyFirst"
    /// The second one.
    case onlySecond = "OnlySecond"
  }

  /// Where something is cut off or filled in.
  public enum Direction: String, Sendable {
    /// At the beginning.
    case left = "Left"
    /// At the end.
    case right = "Right"
  }

  /// The largest number of ids, special tokens included.
  public var maximumLength: Int
  /// Which text of a pair is cut.
  public var strategy: Strategy
  /// Where the text is cut.
  public var direction: Direction
  /// How many ids the overflowing parts have in common with the part before.
  public var stride: Int

  /// Creates a rule.
  ///
  /// - Parameters:
  ///   - maximumLength: The largest number of ids, special tokens included.
  ///   - strategy: Which text of a pair is cut.
  ///   - direction: Where the text is cut.
  ///   - stride: How many ids the overflowing parts have in common with the part before.
  public init(
    maximumLength: Int, strategy: Strategy = .longestFirst, direction: Direction = .right,
    stride: Int = 0
  ) {
    self.maximumLength = maximumLength
    self.strategy = strategy
    self.direction = direction
    self.stride = stride
  }

  /// Reads the member `truncation` of tokenizer.json.
  init(_ component: ComponentReader) throws(TokenizerError) {
    maximumLength = try component.required("max_length").count()
    stride = try component.required("stride").count()
    strategy = try component.choice("strategy", Strategy.self)
    direction =
      component.optional("direction") == nil
      ? .right : try component.choice("direction", Direction.self)
  }

  /// Cuts a text or a pair.
  ///
  /// - Parameters:
  ///   - encodings: One or two encodings.
  ///   - reserved: How many special tokens will be added.
  /// - Throws: `TokenizerError.impossibleTruncation` when there is no room, or not enough to cut.
  func apply(to encodings: inout [Encoding], reserved: Int) throws(TokenizerError) {
    let limit = maximumLength - reserved
    guard limit >= 0, stride >= 0 else {
      throw .impossibleTruncation(
        "a length of \(maximumLength) has no room for \(reserved) special tokens")
    }
    if limit == 0 {
      for index in encodings.indices { try cut(&encodings[index], to: 0) }
      return
    }
    let total = encodings.reduce(0) { $0 + $1.count }
    guard total > limit else { return }
    switch strategy {
    case .longestFirst where encodings.count == 1:
      try cut(&encodings[0], to: limit)
    case .longestFirst:
      let (first, second) = Self.shares(encodings[0].count, encodings[1].count, of: limit)
      try cut(&encodings[0], to: first)
      try cut(&encodings[1], to: second)
    case .onlyFirst, .onlySecond:
      let index = strategy == .onlyFirst ? 0 : 1
      guard index < encodings.count else {
        throw .impossibleTruncation("the second text is to be cut, but there is none")
      }
      let length = encodings[index].count
      guard length > total - limit else {
        throw .impossibleTruncation(
          "\(index == 0 ? "the first" : "the second") text has \(length) ids, but "
            + "\(total - limit) have to go for a length of \(maximumLength)")
      }
      try cut(&encodings[index], to: length - (total - limit))
    }
  }

  /// The lengths to which a pair that is too long is cut.
  private static func shares(_ first: Int, _ second: Int, of limit: Int) -> (Int, Int) {
    var shorter = min(first, second)
    var longer = shorter > limit ? shorter : max(shorter, limit - shorter)
    if shorter + longer > limit {
      shorter = limit / 2
      longer = shorter + limit % 2
    }
    return first > second ? (longer, shorter) : (shorter, longer)
  }

  private func cut(_ encoding: inout Encoding, to length: Int) throws(TokenizerError) {
    let count = encoding.count
    guard length < count else { return }
    if length == 0 {
      var empty = Encoding()
      empty.overflowing = [encoding]
      encoding = empty
      return
    }
    guard stride < length else {
      throw .impossibleTruncation(
        "a stride of \(stride) leaves no step in parts of \(length) ids")
    }
    var ranges: [Range<Int>] = []
    switch direction {
    case .right:
      var start = 0
      while ranges.last?.upperBound != count {
        ranges.append(start..<min(start + length, count))
        start += length - stride
      }
    case .left:
      var end = count
      while ranges.last?.lowerBound != 0 {
        ranges.append(max(0, end - length)..<end)
        end -= length - stride
      }
    }
    var result = encoding.slice(ranges[0])
    result.overflowing = ranges.dropFirst().map { encoding.slice($0) }
    encoding = result
  }
}
