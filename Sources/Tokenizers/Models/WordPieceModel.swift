/// A word becomes the longest tokens that spell it from left to right, or the unknown token.
///
/// All tokens but the first carry a prefix. Where the reference fails because it needs the unknown
/// token and has none, the word vanishes here.
///
/// Source: Wu et al. (2016), as in BERT.
struct WordPieceModel: TokenModel {
  let vocabulary: Vocabulary
  private let unknownID: Int32?
  private let prefix: [UInt8]
  private let longestWord: Int
  /// No token has more bytes.
  private let longestToken: Int

  var cachesWords: Bool { true }

  init(_ component: ComponentReader) throws(TokenizerError) {
    vocabulary = try Vocabulary(component.required("vocab"))
    prefix = Array(try component.string("continuing_subword_prefix").utf8)
    longestWord = try component.required("max_input_chars_per_word").integerValue()
    unknownID = vocabulary.id(of: try component.string("unk_token")).map { Int32($0) }
    longestToken = vocabulary.longestToken
  }

  func encode(word: UnsafeBufferPointer<UInt8>, with workspace: EncodingWorkspace) {
    let firstID = workspace.ids.count
    let firstRange = workspace.ranges.count
    var count = 0
    if word.count > longestWord { word.forEachScalar { _, _ in count += 1 } }
    var start = 0
    if count > longestWord { start = -1 }
    while start >= 0 && start < word.count {
      guard let (id, end) = longestMatch(in: word, from: start) else {
        start = -1
        break
      }
      workspace.ids.append(id)
      if workspace.measures { workspace.ranges.append(TokenRange(start, end)) }
      start = end
    }
    guard start < 0 else { return }
    workspace.ids.removeSubrange(firstID...)
    workspace.ranges.removeSubrange(firstRange...)
    guard let unknownID else { return }
    workspace.ids.append(unknownID)
    if workspace.measures { workspace.ranges.append(TokenRange(0, word.count)) }
  }

  private func longestMatch(
    in word: UnsafeBufferPointer<UInt8>, from start: Int
  ) -> (id: Int32, end: Int)? {
    if start == 0 || prefix.isEmpty {
      return longestMatch(start, min(word.count, start + longestToken), word) { end in
        vocabulary.id(of: word.slice(start, end))
      }
    }
    let last = min(word.count, start + max(0, longestToken - prefix.count))
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: prefix.count + last - start) {
      key in
      for (index, byte) in prefix.enumerated() { key[index] = byte }
      for index in start..<last { key[prefix.count + index - start] = word[index] }
      let spelling = UnsafeBufferPointer(key)
      return longestMatch(start, last, word) { end in
        vocabulary.id(of: spelling.slice(0, prefix.count + end - start))
      }
    }
  }

  @inline(__always)
  private func longestMatch(
    _ start: Int, _ last: Int, _ word: UnsafeBufferPointer<UInt8>, _ find: (Int) -> Int?
  ) -> (id: Int32, end: Int)? {
    var end = last
    while end > start {
      // Only where a character ends.
      if end == word.count || word[end] & 0xC0 != 0x80, let id = find(end) {
        return (Int32(id), end)
      }
      end -= 1
    }
    return nil
  }
}
