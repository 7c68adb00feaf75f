import Tokenizers

extension Seq2SeqEncoder {
  /// Encodes a file as ``encode(path:)`` does and shows each record on the way.
  ///
  /// - Parameters:
  ///   - path: A file of pairs of texts.
  ///   - each: Is called for each record in the order of the file.
  /// - Returns: What was done to the records.
  /// - Throws: ``DatasetError`` naming the first line that cannot be read or is no pair of texts, and
  ///   whatever `each` throws.
  public func preview(
    path: String, each: (ExamplePreview) throws -> Void
  ) throws -> EncodingReport {
    var reader = try RecordReader(path: path)
    var report = EncodingReport()
    while let record = try reader.next() {
      let encoded = try encoded(record, &report)
      try each(preview(of: encoded, record))
    }
    report.ignoredKeys = reader.ignoredKeys
    return report
  }

  /// Shows one record.
  ///
  /// - Parameter record: A pair of texts.
  /// - Returns: The tokens that are read, and those that are written beside their labels.
  /// - Throws: ``DatasetError`` when it is no pair of texts.
  public func preview(of record: LocatedRecord) throws(DatasetError) -> ExamplePreview {
    var report = EncodingReport()
    return preview(of: try encoded(record, &report), record)
  }

  private func preview(of encoded: Encoded, _ record: LocatedRecord) -> ExamplePreview {
    func tokens(_ cut: Cut, asked: Bool) -> [ExamplePreview.Token] {
      cut.whole.enumerated().map { position, id in
        let isLost = cut.lost.contains(position)
        return ExamplePreview.Token(
          id: id, text: tokenizer.shownText(of: id), label: asked && !isLost ? id : nil,
          role: isLost ? .cut : asked ? .target : .masked)
      }
    }
    let (source, target) = (encoded.source, encoded.target)
    var preview = ExamplePreview(
      location: record.location, format: record.record.format,
      tokens: tokens(source, asked: false),
      truncation: source.lost.isEmpty && target.lost.isEmpty
        ? nil : TruncatedSpans(prompt: source.lost, end: target.lost),
      mergesAcross: false, isEndless: encoded.isEndless, beginsTwice: false)
    preview.targetTokens = tokens(target, asked: true)
    return preview
  }
}
