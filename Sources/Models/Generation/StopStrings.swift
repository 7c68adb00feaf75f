/// Texts that end a row as soon as they are written.
///
/// A text may begin in the prompt and end anywhere inside the newest token; texts are compared by
/// their bytes.
public final class StopStrings {
  /// The texts.
  public let texts: [String]
  private let patterns: [[UInt8]]
  private let bytes: (_ id: Int) -> [UInt8]
  private var known: [Int: [UInt8]] = [:]

  /// Makes a set of texts.
  ///
  /// - Parameters:
  ///   - texts: The texts, none of them empty.
  ///   - bytes: What a token adds to a text behind other tokens, as UTF-8.
  public init(_ texts: [String], bytes: @escaping (_ id: Int) -> [UInt8]) {
    precondition(!texts.contains(""), "StopStrings: an empty text")
    self.texts = texts
    patterns = texts.map { Array($0.utf8) }
    self.bytes = bytes
  }

  /// Whether the last token completes one of the texts.
  ///
  /// - Parameters:
  ///   - ids: Tokens that were written.
  ///   - prompt: Tokens before them.
  /// - Returns: True where one of the texts ends inside the last token.
  public func end(in ids: [Int], behind prompt: [Int]) -> Bool {
    guard let last = ids.last else { return false }
    let newest = spelling(of: last)
    guard !newest.isEmpty else { return false }
    // As many bytes before it as the longest text could need.
    let needed = (patterns.map(\.count).max() ?? 0) - 1
    var before: [UInt8] = []
    for id in [prompt, ids.dropLast()].joined().reversed() {
      guard before.count < needed else { break }
      before.insert(contentsOf: spelling(of: id), at: 0)
    }
    before = Array(before.suffix(max(0, needed)))
    let all = before + newest
    return patterns.contains { pattern in
      let first = max(pattern.count, before.count + 1)
      guard first <= all.count else { return false }
      return (first...all.count).contains(where: { end in
        all[end - pattern.count..<end].elementsEqual(pattern)
      })
    }
  }

  private func spelling(of id: Int) -> [UInt8] {
    if let found = known[id] { return found }
    let found = bytes(id)
    known[id] = found
    return found
  }
}
