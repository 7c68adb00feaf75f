import Tokenizers

/// A record after encoding, with what was done to it.
struct EncodedRecord {
  var location: RecordLocation
  /// Before anything was cut.
  var whole: ExampleDraft
  /// What was cut; nil for nothing.
  var truncation: TruncatedSpans?
  /// What is left to train on.
  var example: TokenizedExample
  /// Whether no special token stands behind the last asked words.
  var isEndless: Bool
  /// Whether the beginning-of-text token comes twice.
  var beginsTwice: Bool

  /// Whether the example has anything that the loss counts.
  var isKept: Bool { example.targetCount > 0 }
}

extension EncodingReport {
  /// Adds a record to the counts.
  mutating func count(_ encoded: EncodedRecord) {
    recordCount += 1
    if encoded.whole.mergesAcross { boundaryCount += 1 }
    if encoded.truncation != nil {
      truncatedCount += 1
      firstTruncated = firstTruncated ?? encoded.location
    }
    if encoded.beginsTwice {
      doubledBeginningCount += 1
      firstDoubledBeginning = firstDoubledBeginning ?? encoded.location
    }
    guard encoded.isKept else {
      droppedCount += 1
      firstDropped = firstDropped ?? encoded.location
      return
    }
    if encoded.isEndless {
      endlessCount += 1
      firstEndless = firstEndless ?? encoded.location
    }
    tokenCount += encoded.example.ids.count
    targetCount += encoded.example.targetCount
    longest = max(longest, encoded.example.ids.count)
  }
}

extension ExampleEncoder {
  /// Whether the last asked part lacks an end: a special token with nothing but white space behind.
  func isEndless(_ draft: ExampleDraft) -> Bool {
    guard let last = draft.asked.last else { return false }
    let words = draft.ids[last]
    guard let end = words.lastIndex(where: { endIDs.contains($0) }) else { return true }
    let rest = tokenizer.decode(words[(end + 1)...])
    return rest.unicodeScalars.contains { !$0.properties.isWhitespace }
  }

  func beginsTwice(_ draft: ExampleDraft) -> Bool {
    guard let begin = tokenizer.beginningOfTextID, draft.ids.count > 1 else { return false }
    return draft.ids[0] == begin && draft.ids[1] == begin
  }
}
