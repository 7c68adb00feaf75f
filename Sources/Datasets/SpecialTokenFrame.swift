import Tokenizers

/// The special tokens that a tokenizer puts before and after a text of its own accord.
struct SpecialTokenFrame: Equatable {
  /// Such as a beginning-of-text token.
  var before: [Int] = []
  /// Such as an end-of-text token.
  var after: [Int] = []

  /// Finds out by encoding a letter with and without them.
  init(of tokenizer: Tokenizer) {
    let bare = tokenizer.encode("a", addSpecialTokens: false)
    let framed = tokenizer.encode("a", addSpecialTokens: true)
    let extra = framed.count - bare.count
    guard extra > 0, !bare.isEmpty else { return }
    for start in 0...extra where framed[start..<start + bare.count].elementsEqual(bare) {
      before = Array(framed[..<start])
      after = Array(framed[(start + bare.count)...])
      return
    }
  }

  /// The tokens to put before some ids: none when the text itself already begins with them.
  func missing(before ids: [Int]) -> [Int] {
    ids.starts(with: before) ? [] : before
  }
}
