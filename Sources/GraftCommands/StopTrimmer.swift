/// Text that is written out as it comes, but for what stopped it.
///
/// What may be the beginning of a stop string is held back until it is clear that it is not.
struct StopTrimmer {
  private let stops: [[UInt8]]
  private var held: [UInt8] = []
  private var isOver = false

  /// - Parameter stops: Texts that stop; none for writing everything.
  init(_ stops: [String]) { self.stops = stops.map { Array($0.utf8) } }

  /// Takes the next piece and gives what is sure to be written.
  mutating func append(_ text: String) -> String {
    guard !isOver else { return "" }
    guard !stops.isEmpty else { return text }
    held += text.utf8
    for start in held.indices {
      let rest = held[start...]
      if stops.contains(where: { rest.starts(with: $0) }) {
        isOver = true
        defer { held = [] }
        return String(decoding: held[..<start], as: UTF8.self)
      }
      if stops.contains(where: { $0.starts(with: rest) }) {
        let sure = String(decoding: held[..<start], as: UTF8.self)
        held = Array(rest)
        return sure
      }
    }
    defer { held = [] }
    return String(decoding: held, as: UTF8.self)
  }

  /// Ends the text.
  mutating func finish() -> String {
    defer { held = [] }
    return isOver ? "" : String(decoding: held, as: UTF8.self)
  }

  /// A whole text but for what stopped it.
  static func trimmed(_ text: String, _ stops: [String]) -> String {
    var trimmer = StopTrimmer(stops)
    return trimmer.append(text) + trimmer.finish()
  }
}
