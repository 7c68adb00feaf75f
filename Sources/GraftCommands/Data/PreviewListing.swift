import Datasets
import JSONValues

/// What `graft data preview` shows: the first rows, those that lost something, and the sums.
struct PreviewListing {
  /// Rows that are shown token by token.
  let shownRows: Int
  var report = EncodingReport()

  private var shown: [ExamplePreview] = []
  private var dropped: [RecordLocation] = []
  private var truncated: [(place: RecordLocation, cut: TruncatedSpans)] = []

  init(shownRows: Int) { self.shownRows = shownRows }

  mutating func add(_ preview: ExamplePreview) {
    if shown.count < shownRows { shown.append(preview) }
    if !preview.isKept { dropped.append(preview.location) }
    if let cut = preview.truncation { truncated.append((preview.location, cut)) }
  }

  // MARK: Text

  /// Lists of lines end after so many.
  private static let listLength = 20

  func text(showsAllTokens: Bool) -> String {
    var lines: [String] = []
    for preview in shown {
      lines.append(Self.heading(preview))
      lines += Self.table(preview.tokens, showsAll: showsAllTokens)
      if !preview.targetTokens.isEmpty {
        lines.append("  what is written:")
        lines += Self.table(preview.targetTokens, showsAll: showsAllTokens)
      }
      lines.append("")
    }
    for place in dropped.prefix(Self.listLength) {
      lines.append("\(place): left out, nothing in it counts towards the loss")
    }
    lines += Self.rest(dropped.count, "left out")
    for (place, cut) in truncated.prefix(Self.listLength) {
      lines.append(
        "\(place): shortened by \(cut.prompt.count) tokens of the prompt and \(cut.end.count) of "
          + "the end")
    }
    lines += Self.rest(truncated.count, "shortened")
    lines.append(report.description)
    return lines.joined(separator: "\n") + "\n"
  }

  private static func rest(_ count: Int, _ what: String) -> [String] {
    count > listLength ? ["... and \(count - listLength) more \(what)"] : []
  }

  private static func heading(_ preview: ExamplePreview) -> String {
    let cut = preview.truncation?.count ?? 0
    var notes = [
      "\(preview.tokens.count + preview.targetTokens.count - cut) tokens",
      "\(preview.targetCount) count towards the loss",
      "\(preview.maskedCount) masked",
    ]
    if let label = preview.rowLabel { notes = [notes[0], "asked as a whole: \(label)"] }
    if cut > 0 { notes.append("\(cut) cut off") }
    if !preview.isKept { notes.append("left out") }
    if preview.mergesAcross { notes.append("prompt and answer encoded apart") }
    if preview.isEndless, preview.isKept { notes.append("no end-of-text token to learn") }
    if preview.beginsTwice { notes.append("two beginning-of-text tokens") }
    return "\(preview.location)  \(preview.format.rawValue): " + notes.joined(separator: ", ")
  }

  /// A line for each token: its id, its label and its text.
  private static func table(
    _ tokens: [ExamplePreview.Token], showsAll: Bool
  ) -> [String] {
    var lines = ["        id     label  token"]
    for run in runs(of: tokens) {
      let isLong = !showsAll && run.count > 12 && tokens[run.lowerBound].role != .target
      for position in run {
        if isLong, position == run.lowerBound + 4 {
          lines.append("       ...       ...  \(run.count - 8) more")
        }
        if isLong, (run.lowerBound + 4..<run.upperBound - 4).contains(position) { continue }
        let token = tokens[position]
        lines.append(
          "\(padded("\(token.id)", 10))\(padded(label(of: token), 10))  "
            + JSON.string(token.text).serialized(escapeNonASCII: false))
      }
    }
    return lines
  }

  /// Neighbours with the same role.
  private static func runs(of tokens: [ExamplePreview.Token]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for (position, token) in tokens.enumerated() {
      if let last = runs.last, tokens[last.lowerBound].role == token.role {
        runs[runs.count - 1] = last.lowerBound..<position + 1
      } else {
        runs.append(position..<position + 1)
      }
    }
    return runs
  }

  private static func label(of token: ExamplePreview.Token) -> String {
    switch token.role {
    case .target: token.asked ?? "\(token.label ?? token.id)"
    case .masked: "-"
    case .unpredicted: "first"
    case .cut: "cut"
    }
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }

  // MARK: JSON

  func json(file: String) -> JSON {
    [
      "data": .string(file), "rows": .array(shown.map(Self.row)),
      "dropped_lines": .array(dropped.map { .integer($0.line) }),
      "truncated_lines": .array(truncated.map { .integer($0.place.line) }), "report": sums,
    ]
  }

  private var sums: JSON {
    let keys = report.ignoredKeys.sorted { $0.key < $1.key }
    var counts: [(key: String, value: Int)] = [
      ("records", report.recordCount), ("examples", report.exampleCount),
      ("tokens", report.tokenCount), ("targets", report.targetCount), ("longest", report.longest),
      ("dropped", report.droppedCount), ("truncated", report.truncatedCount),
      ("merging", report.boundaryCount), ("endless", report.endlessCount),
      ("doubled_beginning", report.doubledBeginningCount),
    ]
    if report.longestTarget > 0 { counts.append(("longest_target", report.longestTarget)) }
    var object = JSONObject(counts.map { ($0.key, .integer($0.value)) })
    object["ignored_keys"] = .object(JSONObject(keys.map { ($0.key, .integer($0.value)) }))
    return .object(object)
  }

  private static func row(_ preview: ExamplePreview) -> JSON {
    var row: JSON = [
      "line": .integer(preview.location.line), "format": .string(preview.format.rawValue),
      "kept": .bool(preview.isKept), "targets": .integer(preview.targetCount),
      "masked": .integer(preview.maskedCount), "cut": .integer(preview.truncation?.count ?? 0),
      "merging": .bool(preview.mergesAcross), "endless": .bool(preview.isEndless),
      "doubled_beginning": .bool(preview.beginsTwice),
      "row_label": preview.rowLabel.map(JSON.string) ?? .null,
      "tokens": .array(preview.tokens.map(entry)),
    ]
    if !preview.targetTokens.isEmpty, var object = row.objectValue {
      object["target_tokens"] = .array(preview.targetTokens.map(entry))
      row = .object(object)
    }
    return row
  }

  private static func entry(_ token: ExamplePreview.Token) -> JSON {
    [
      "id": .integer(token.id), "text": .string(token.text),
      "label": token.label.map(JSON.integer) ?? .null, "role": .string(token.role.rawValue),
      "asked": token.asked.map(JSON.string) ?? .null,
    ]
  }
}
