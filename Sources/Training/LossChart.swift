/// A loss curve as text for a terminal.
public struct LossChart: Equatable, Sendable {
  /// What the curve is drawn with.
  public enum Style: Equatable, Sendable {
    /// Eighths of a block, for terminals that show Unicode.
    case blocks
    /// Only ASCII.
    case ascii
  }

  /// Columns of the curve, without the labels.
  public var width: Int
  /// Rows of the curve, without the line of steps.
  public var height: Int
  /// What the curve is drawn with.
  public var style: Style

  /// Makes a chart of a size.
  ///
  /// - Parameters:
  ///   - width: Columns of the curve, at least 1.
  ///   - height: Rows of the curve, at least 1.
  ///   - style: What the curve is drawn with.
  public init(width: Int = 60, height: Int = 10, style: Style = .blocks) {
    precondition(width > 0 && height > 0, "LossChart: \(width) columns, \(height) rows")
    self.width = width
    self.height = height
    self.style = style
  }

  /// Draws a curve.
  ///
  /// A column shows the mean of the losses that fall into it; one without a loss repeats the one
  /// before. Rows are linear between the smallest and the largest column. Losses that are not
  /// finite are left out.
  ///
  /// - Parameter points: Steps and their losses in any order.
  /// - Returns: `height + 2` lines of at most `width` + 13 columns, joined by newlines; empty
  ///   without a finite loss.
  public func text(of points: [(step: Int, loss: Double)]) -> String {
    let points = points.filter(\.loss.isFinite).sorted { $0.step < $1.step }
    guard let first = points.first?.step, let last = points.last?.step else { return "" }
    let columns = means(points, first, last)
    let (low, high) = (columns.min() ?? 0, columns.max() ?? 0)
    let labels = (0..<height).map { row in
      let share = height == 1 ? 0 : Double(row) / Double(height - 1)
      return fixed(high * (1 - share) + low * share)
    }
    let margin = labels.map(\.utf8.count).max() ?? 0
    var lines: [String] = []
    for (row, label) in labels.enumerated() {
      var line = String(repeating: " ", count: margin - label.utf8.count) + label
      line += style == .blocks ? " \u{2524}" : " |"
      for value in columns { line += cell(row, level(value, low, high)) }
      while line.last == " " { line.removeLast() }
      lines.append(line)
    }
    let corner = style == .blocks ? " \u{2514}" : " +"
    let rule = String(repeating: style == .blocks ? "\u{2500}" : "-", count: width)
    lines.append(String(repeating: " ", count: margin) + corner + rule)
    let (left, right) = ("\(first)", first == last ? "" : "\(last)")
    let gap = max(1, width - left.utf8.count - right.utf8.count)
    var steps = String(repeating: " ", count: margin + 2) + left
    if !right.isEmpty { steps += String(repeating: " ", count: gap) + right }
    lines.append(steps)
    return lines.joined(separator: "\n")
  }

  /// Mean loss of each column.
  private func means(
    _ points: [(step: Int, loss: Double)], _ first: Int, _ last: Int
  ) -> [Double] {
    var means = [Double](repeating: 0, count: width)
    var counts = [Double](repeating: 0, count: width)
    for (step, loss) in points {
      let share = Double(step - first) / Double(max(1, last - first))
      let column = min(width - 1, Int((share * Double(width - 1)).rounded()))
      counts[column] += 1
      // Divided before the sum, which may be too large for a Double.
      means[column] += loss / counts[column] - means[column] / counts[column]
    }
    var previous = 0.0
    return zip(means, counts).map { mean, count in
      if count > 0 { previous = mean }
      return previous
    }
  }

  /// Height of a value in eighths of a row, from 1 to 8 * height.
  private func level(_ value: Double, _ low: Double, _ high: Double) -> Int {
    let steps = 8 * height
    if high <= low { return steps / 2 }
    // Halves, so that the difference of two huge losses stays finite.
    let share = (value / 2 - low / 2) / (high / 2 - low / 2)
    return 1 + min(steps - 1, max(0, Int((share * Double(steps - 1)).rounded())))
  }

  /// One character of a column that is filled up to `level`; row 0 is the top.
  private func cell(_ row: Int, _ level: Int) -> String {
    let filled = level - 8 * (height - 1 - row)
    switch style {
    case .ascii: return (1...8).contains(filled) ? "*" : " "
    case .blocks:
      guard filled > 0, let scalar = Unicode.Scalar(0x2580 + UInt32(min(8, filled))) else {
        return " "
      }
      return String(Character(scalar))
    }
  }
}
