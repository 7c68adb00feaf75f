/// A stretch of the original text, in bytes.
struct SourceSpan: Equatable, Sendable {
  var start: Int32
  var end: Int32

  @inline(__always)
  init(_ start: Int, _ end: Int) {
    self.start = Int32(truncatingIfNeeded: start)
    self.end = Int32(truncatingIfNeeded: end)
  }
}

/// A text that may be changed and, on demand, still knows where each of its bytes comes from.
///
/// All bytes of a character share one span. Without tracking, `spans` is empty and costs nothing.
struct AlignedText: Sendable {
  /// Valid UTF-8.
  var bytes: [UInt8]
  /// The span of each byte; empty unless tracked.
  var spans: [SourceSpan]
  let isTracked: Bool
  /// Where this text begins in the original one.
  let origin: Int

  /// A stretch of the original text, unchanged.
  init(_ text: UnsafeBufferPointer<UInt8>, origin: Int, isTracked: Bool) {
    bytes = Array(text)
    self.origin = origin
    self.isTracked = isTracked
    spans = []
    guard isTracked else { return }
    spans.reserveCapacity(text.count)
    var index = 0
    while index < text.count {
      let width = text.scalar(at: index).width
      let span = SourceSpan(origin + index, origin + index + width)
      for _ in 0..<width { spans.append(span) }
      index += width
    }
  }

  /// A part of another text.
  init(_ whole: AlignedText, _ range: Range<Int>) {
    bytes = Array(whole.bytes[range])
    isTracked = whole.isTracked
    spans = isTracked ? Array(whole.spans[range]) : []
    origin = spans.first.map { Int($0.start) } ?? whole.origin + range.lowerBound
  }

  /// Where the first byte comes from.
  var start: Int { spans.first.map { Int($0.start) } ?? origin }

  /// Replaces the text by what `body` writes.
  mutating func rewrite(_ body: (inout TextRewriter) -> Void) {
    let origin = origin
    (bytes, spans) = bytes.withUnsafeBufferPointer { old in
      spans.withUnsafeBufferPointer { oldSpans in
        var rewriter = TextRewriter(old, oldSpans, origin: origin, isTracked: isTracked)
        body(&rewriter)
        return (rewriter.bytes, rewriter.spans)
      }
    }
  }
}

/// Writes the changed form of a text, character by character.
///
/// The reader's place in the old text moves on with every character that is kept, replaced or
/// removed. A character that is added takes the span of the old character before the place.
struct TextRewriter {
  let old: UnsafeBufferPointer<UInt8>
  private let oldSpans: UnsafeBufferPointer<SourceSpan>
  private let origin: Int
  let isTracked: Bool
  private(set) var bytes: [UInt8] = []
  private(set) var spans: [SourceSpan] = []
  /// The next byte of the old text.
  private(set) var place = 0

  init(
    _ old: UnsafeBufferPointer<UInt8>, _ oldSpans: UnsafeBufferPointer<SourceSpan>, origin: Int,
    isTracked: Bool
  ) {
    self.old = old
    self.oldSpans = oldSpans
    self.origin = origin
    self.isTracked = isTracked
    bytes.reserveCapacity(old.count + 16)
    if isTracked { spans.reserveCapacity(old.count + 16) }
  }

  /// Copies the old text up to `end`.
  @inline(__always)
  mutating func copy(through end: Int) {
    guard end > place else { return }
    bytes.append(contentsOf: old[place..<end])
    if isTracked { spans.append(contentsOf: oldSpans[place..<end]) }
    place = end
  }

  /// Leaves the old text up to `end` out.
  @inline(__always)
  mutating func remove(through end: Int) {
    if end > place { place = end }
  }

  /// Writes text in the place of the old text up to `end`, whose first character gives the span.
  @inline(__always)
  mutating func replace(through end: Int, by text: some Sequence<UInt8>) {
    write(text, span: span(at: place))
    remove(through: end)
  }

  /// Writes text that is added after the place.
  @inline(__always)
  mutating func insert(_ text: some Sequence<UInt8>) {
    write(text, span: place > 0 ? span(at: place - 1) : SourceSpan(origin, origin))
  }

  /// Writes text with the span of the character at the place, without moving on.
  @inline(__always)
  mutating func insertBefore(_ text: some Sequence<UInt8>) {
    write(text, span: span(at: place))
  }

  /// Writes one character by the reference's measure of change.
  ///
  /// - Parameters:
  ///   - scalar: The character.
  ///   - change: 1 for one that is added, 0 for one that replaces the next old character, -n for
  ///     one that replaces it and after which n old characters are removed.
  mutating func emit(_ scalar: Unicode.Scalar, change: Int) {
    if change > 0 {
      insert(scalar.utf8)
      return
    }
    write(scalar.utf8, span: span(at: place))
    for _ in 0..<max(1, 1 - change) where place < old.count { place += old.scalar(at: place).width }
  }

  @inline(__always)
  private mutating func write(_ text: some Sequence<UInt8>, span: SourceSpan) {
    let start = bytes.count
    bytes.append(contentsOf: text)
    guard isTracked else { return }
    for _ in start..<bytes.count { spans.append(span) }
  }

  @inline(__always)
  private func span(at index: Int) -> SourceSpan {
    guard isTracked, !oldSpans.isEmpty else { return SourceSpan(origin, origin) }
    return oldSpans[min(index, oldSpans.count - 1)]
  }
}
