public import Tokenizers

/// One record as training sees it, token by token.
public struct ExamplePreview: Equatable, Sendable {
  /// What a token is for.
  public enum Role: String, Equatable, Sendable {
    /// Given to the model; the loss does not count it.
    case masked
    /// Asked of the model; the loss counts it.
    case target
    /// Asked, but nothing stands before it that could predict it.
    case unpredicted
    /// Cut off, as the example is too long.
    case cut
  }

  /// A token of the whole example.
  public struct Token: Equatable, Sendable {
    /// Its id.
    public var id: Int
    /// Its text; the spelling of the vocabulary where it is a part of a character.
    public var text: String
    /// The label beside it: the id, or nil where the label is ignored or the token was cut.
    public var label: Int?
    /// What it is for.
    public var role: Role
    /// What is asked at it where that is no token, such as the name of a class; nil for a token.
    public var asked: String?

    /// Makes a token.
    ///
    /// - Parameters:
    ///   - id: Its id.
    ///   - text: Its text.
    ///   - label: The label beside it, or nil.
    ///   - role: What it is for.
    ///   - asked: What is asked at it where that is no token.
    public init(id: Int, text: String, label: Int?, role: Role, asked: String? = nil) {
      self.id = id
      self.text = text
      self.label = label
      self.role = role
      self.asked = asked
    }
  }

  /// Where the record stands.
  public var location: RecordLocation
  /// The format of the record; conversations of any spelling are messages.
  public var format: RecordFormat
  /// All tokens, those that were cut among them.
  public var tokens: [Token]
  /// What a decoder behind an encoder has to write, likewise; empty for other models.
  public var targetTokens: [Token] = []
  /// What was cut, of two texts from both; nil for nothing.
  public var truncation: TruncatedSpans?
  /// Whether tokens would merge across the border of prompt and answer, so that the parts were
  /// encoded apart.
  public var mergesAcross: Bool
  /// Whether no special token ends the last answer.
  public var isEndless: Bool
  /// Whether the beginning-of-text token comes twice.
  public var beginsTwice: Bool

  /// What the whole row is asked; nil where tokens are asked.
  public var rowLabel: String?

  /// Whether training uses the record: something in it counts towards the loss.
  public var isKept: Bool { targetCount > 0 || rowLabel != nil }
  /// Tokens that count towards the loss.
  public var targetCount: Int { (tokens + targetTokens).count { $0.role == .target } }
  /// Tokens that the model sees and that do not count.
  public var maskedCount: Int { tokens.count { $0.role == .masked || $0.role == .unpredicted } }
}

extension ExampleEncoder {
  /// Encodes a file as ``encode(path:)`` does and shows each record on the way.
  ///
  /// That nothing is left to train on is no error here.
  ///
  /// - Parameters:
  ///   - path: A JSONL file for language model training.
  ///   - each: Is called for each record in the order of the file.
  /// - Returns: What was done to the records.
  /// - Throws: ``DatasetError`` naming the first line that cannot be read or encoded, and whatever
  ///   `each` throws.
  public func preview(
    path: String, each: (ExamplePreview) throws -> Void
  ) throws -> EncodingReport {
    var reader = try RecordReader(path: path, family: .languageModel)
    var report = EncodingReport()
    while let record = try reader.next() {
      let encoded = try encoded(record)
      report.count(encoded)
      try each(preview(of: encoded, record.record.format))
    }
    report.ignoredKeys = reader.ignoredKeys
    return report
  }

  /// Shows one record.
  ///
  /// - Parameter record: A record of text, of a prompt with its completion, of messages or of an
  ///   instruction.
  /// - Returns: Its tokens beside their labels.
  /// - Throws: ``DatasetError`` when it cannot be encoded.
  public func preview(of record: LocatedRecord) throws(DatasetError) -> ExamplePreview {
    preview(of: try encoded(record), record.record.format)
  }

  private func preview(of encoded: EncodedRecord, _ format: RecordFormat) -> ExamplePreview {
    var tokens: [ExamplePreview.Token] = []
    var kept = 0
    for (position, id) in encoded.whole.ids.enumerated() {
      var token = ExamplePreview.Token(
        id: id, text: tokenizer.shownText(of: id), label: nil, role: .cut)
      if encoded.truncation?.contains(position) != true {
        let label = encoded.example.labels[kept]
        if label == ignoredLabelID {
          token.role = .masked
        } else {
          token.label = Int(label)
          token.role = kept == 0 ? .unpredicted : .target
        }
        kept += 1
      }
      tokens.append(token)
    }
    return ExamplePreview(
      location: encoded.location, format: format, tokens: tokens, truncation: encoded.truncation,
      mergesAcross: encoded.whole.mergesAcross, isEndless: encoded.isEndless,
      beginsTwice: encoded.beginsTwice)
  }

}

extension ExamplePreview {
  /// Shows an example whose tokens or whose row are asked something.
  ///
  /// - Parameters:
  ///   - example: Tokens and labels.
  ///   - located: The record that it is of.
  ///   - tokenizer: The model's.
  ///   - rowLabel: What the whole row is asked; nil where tokens are asked.
  ///   - asked: What is asked at a position, in words; nil for the token that is the label.
  public init(
    _ example: TokenizedExample, of located: LocatedRecord, _ tokenizer: Tokenizer,
    rowLabel: String? = nil, asked: (_ position: Int) -> String?
  ) {
    self.init(
      location: located.location, format: located.record.format,
      tokens: example.ids.enumerated().map { position, id in
        let label = example.labels[position]
        let isAsked = label != ignoredLabelID
        let words = asked(position)
        return Token(
          id: Int(id), text: tokenizer.shownText(of: Int(id)), label: isAsked ? Int(label) : nil,
          role: isAsked || words != nil ? .target : .masked, asked: words)
      },
      truncation: nil, mergesAcross: false, isEndless: false, beginsTwice: false,
      rowLabel: rowLabel)
  }
}

extension Tokenizer {
  /// A token's text as it stands in the middle of a text.
  func shownText(of id: Int) -> String {
    let spelling = token(for: id) ?? "<\(id)>"
    let space: Unicode.Scalar = "\u{2581}"
    if spelling.unicodeScalars.contains(space) {
      return String(
        String.UnicodeScalarView(spelling.unicodeScalars.map { $0 == space ? " " : $0 }))
    }
    let text = decode([id])
    return text.isEmpty || text.unicodeScalars.contains("\u{FFFD}") ? spelling : text
  }
}

/// A conversation as the chat template writes it.
public struct ConversationRendering: Equatable, Sendable {
  /// The text.
  public var text: String
  /// The tokens of the text.
  public var ids: [Int]
  /// For each token whether it is the assistant's; nil where the template has no `{% generation %}`
  /// blocks and prefixes do not tell.
  public var assistantMask: [Bool]?
  /// Why there is no mask.
  public var maskProblem: String?
}

extension ExampleEncoder {
  /// Writes a record by the chat template, without cutting anything.
  ///
  /// - Parameters:
  ///   - record: Messages, or what the style turns into messages.
  ///   - addGenerationPrompt: Whether the text ends where the assistant shall begin to write.
  /// - Returns: The text with its tokens and whose they are.
  /// - Throws: ``DatasetError`` when the record is no conversation or the template refuses it.
  public func rendering(
    of record: LocatedRecord, addGenerationPrompt: Bool = false
  ) throws(DatasetError) -> ConversationRendering {
    guard case .conversation(let conversation) = try script(of: record) else {
      throw .conversation(
        at: record.location,
        reason: "\(record.record.format.spelling) is no conversation by itself; "
          + "--prompt-style chat makes one of a prompt or an instruction")
    }
    let place = record.location
    let text = try text(of: conversation, addGenerationPrompt: addGenerationPrompt, at: place)
    let ids = tokenizer.encode(text, addSpecialTokens: false)
    var rendering = ConversationRendering(text: text, ids: ids)
    do {
      let draft = try draft(of: conversation, at: place)
      // With a generation prompt there is more text behind; its tokens are not the assistant's.
      guard ids.starts(with: draft.ids) else {
        rendering.maskProblem = "its parts are encoded apart in training"
        return rendering
      }
      var mask = [Bool](repeating: false, count: ids.count)
      for range in draft.asked { for position in range { mask[position] = true } }
      rendering.assistantMask = mask
    } catch {
      rendering.maskProblem = "\(error)"
    }
    return rendering
  }
}
