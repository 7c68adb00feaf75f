/// Shapes and text of an SVG picture, in the order they are drawn.
struct VectorDrawing {
  private(set) var elements: [String] = []
  private(set) var height = 0.0
  let width: Double

  init(width: Double) { self.width = width }

  mutating func rectangle(
    _ x: Double, _ y: Double, _ w: Double, _ h: Double, fill: String, note: String? = nil
  ) {
    let place = "x=\"\(x.plain)\" y=\"\(y.plain)\" width=\"\(w.plain)\" height=\"\(h.plain)\""
    let title = note.map { "><title>\($0.escapedForMarkup)</title></rect>" } ?? "/>"
    elements.append("<rect \(place) fill=\"\(fill)\"\(title)")
    height = max(height, y + h)
  }

  mutating func line(
    _ points: [(x: Double, y: Double)], stroke: String, width: Double = 1.5, note: String? = nil
  ) {
    let path = points.map { "\($0.x.plain),\($0.y.plain)" }.joined(separator: " ")
    let title = note.map { "><title>\($0.escapedForMarkup)</title></polyline>" } ?? "/>"
    elements.append(
      "<polyline points=\"\(path)\" fill=\"none\" stroke=\"\(stroke)\" "
        + "stroke-width=\"\(width.plain)\" stroke-linejoin=\"round\"\(title)")
    height = max(height, points.map(\.y).max() ?? 0)
  }

  mutating func text(
    _ x: Double, _ y: Double, _ text: String, size: Double = 11, anchor: String = "start",
    fill: String = "#444", isBold: Bool = false
  ) {
    elements.append(
      "<text x=\"\(x.plain)\" y=\"\(y.plain)\" font-size=\"\(size.plain)\" "
        + "text-anchor=\"\(anchor)\" fill=\"\(fill)\"\(isBold ? " font-weight=\"600\"" : "")>"
        + "\(text.escapedForMarkup)</text>")
    height = max(height, y + 3)
  }

  /// The picture as a document of its own.
  var document: String {
    let size = "width=\"\(width.plain)\" height=\"\((height + 16).plain)\""
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" \(size) "
      + "viewBox=\"0 0 \(width.plain) \((height + 16).plain)\" "
      + "font-family=\"system-ui, sans-serif\">\n"
      + "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
      + elements.joined(separator: "\n") + "\n</svg>\n"
  }
}

extension Double {
  /// With at most two digits behind the point.
  var plain: String {
    let text = fixed(2)
    guard text.contains(".") else { return text }
    let cut = text.reversed().drop { $0 == "0" }.drop { $0 == "." }
    return String(cut.reversed())
  }
}

extension String {
  /// For text and attributes of XML and HTML.
  var escapedForMarkup: String {
    var result = ""
    for character in self {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      // XML has no other control characters.
      case _ where character.unicodeScalars.contains { $0.value < 32 && $0 != "\n" && $0 != "\t" }:
        result += "\u{FFFD}"
      default: result.append(character)
      }
    }
    return result
  }
}
