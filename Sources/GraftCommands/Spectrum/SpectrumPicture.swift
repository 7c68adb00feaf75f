import Adapters
import Foundation

extension SpectrumReport {
  /// One colour for each kind of layer, told apart by people with colour blindness too.
  ///
  /// Source: Okabe and Ito 2008, "Color Universal Design".
  private static let colours = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933",
  ]

  /// The last part of each path, in the order of the layers.
  private var kinds: [String] {
    var seen: Set<String> = []
    return layers.map { Self.kind($0.path) }.filter { seen.insert($0).inserted }
  }

  private static func kind(_ path: String) -> String {
    let parts = path.split(separator: ".")
    // The parameter's own name says nothing.
    let named = parts.last == "weight" && parts.count > 1 ? parts.dropLast() : parts[...]
    return String(named.last ?? "")
  }

  /// The number of the block that a layer is in.
  private static func block(_ path: String) -> Int? {
    path.split(separator: ".").dropFirst().compactMap { Int($0) }.first
  }

  /// An SVG document: grids of kind of layer by block, and curves of energy and of singular values.
  var picture: String {
    var drawing = VectorDrawing(width: 960)
    drawing.text(24, 34, title, size: 16, fill: "#111", isBold: true)
    let counted = layers.count == 1 ? "1 layer" : "\(layers.count) layers"
    drawing.text(24, 52, counted + (against.map { ", compared with \($0)" } ?? ""))
    var y = 84.0
    let hasNorms = layers.contains { $0.relativeNorm != nil }
    y = grid(
      &drawing, y, hasNorms ? "Norm against the base's weight" : "Norm",
      { layer in hasNorms ? layer.relativeNorm : layer.spectrum.norm },
      { hasNorms ? $0.percent : $0.shortText })
    y = grid(
      &drawing, y, "Effective rank", { $0.spectrum.effectiveRank }, { $0.fixed(1) })
    if against != nil {
      y = grid(
        &drawing, y, "Overlap of output directions with the other's (1: the same)",
        { $0.angles?.left.overlap }, { $0.fixed(3) })
      y = grid(
        &drawing, y, "Overlap of input directions with the other's",
        { $0.angles?.right.overlap }, { $0.fixed(3) })
    }
    curves(
      &drawing, 24, y, "Energy kept at each rank (mean over blocks)", { $0.spectrum.energies },
      range: 0...1, { ($0 * 100).plain + " %" })
    let largest = layers.compactMap(\.spectrum.values.first).max() ?? 0
    let top = largest > 0 ? log10(largest) : 0
    // What is below a ten-thousandth of the largest lies on the axis.
    curves(
      &drawing, 500, y, "Singular values (geometric mean over blocks)",
      { $0.spectrum.values.map { $0 > 0 ? max(log10($0), top - 4) : top - 4 } },
      range: (top - 4)...top, { pow(10, $0).shortText })
    legend(&drawing, y + 280)
    return drawing.document
  }

  /// Kinds of layers by blocks; returns where the next part begins.
  private func grid(
    _ drawing: inout VectorDrawing, _ top: Double, _ title: String,
    _ value: (Layer) -> Double?, _ text: (Double) -> String
  ) -> Double {
    let kinds = kinds
    let blocks = Set(layers.compactMap { Self.block($0.path) }).sorted()
    let hasOutside = layers.contains { Self.block($0.path) == nil }
    let columns = max(1, blocks.count + (hasOutside ? 1 : 0))
    let (left, height) = (150.0, 18.0)
    let width = min(40, (drawing.width - left - 24) / Double(columns))
    let values = layers.compactMap(value)
    let (least, most) = (values.min() ?? 0, values.max() ?? 0)
    drawing.text(24, top, title, size: 13, fill: "#111", isBold: true)
    drawing.text(
      936, top, "light \(text(least)), dark \(text(most))", size: 10, anchor: "end")
    for (row, kind) in kinds.enumerated() {
      drawing.text(left - 8, top + 24 + Double(row) * height, kind, anchor: "end")
    }
    for layer in layers {
      guard let value = value(layer) else { continue }
      let row = kinds.firstIndex(of: Self.kind(layer.path)) ?? 0
      let column =
        Self.block(layer.path).flatMap { blocks.firstIndex(of: $0) } ?? blocks.count
      let share = most > least ? (value - least) / (most - least) : 1
      drawing.rectangle(
        left + Double(column) * width, top + 11 + Double(row) * height, width - 1, height - 1,
        fill: Self.shade(share), note: "\(layer.path): \(text(value))")
    }
    let below = top + 24 + Double(kinds.count) * height
    let step = max(1, Int((24 / width).rounded(.up)))
    for (column, block) in blocks.enumerated() where column % step == 0 {
      drawing.text(
        left + (Double(column) + 0.5) * width, below, "\(block)", size: 10, anchor: "middle")
    }
    return below + 34
  }

  private static func shade(_ share: Double) -> String {
    let (light, dark) = ([222.0, 235, 247], [8.0, 48, 107])
    let parts = zip(light, dark).map { from, to in Int((from + (to - from) * share).rounded()) }
    return "rgb(\(parts.map(String.init).joined(separator: ",")))"
  }

  /// One curve for each kind of layer, over the rank.
  private func curves(
    _ drawing: inout VectorDrawing, _ left: Double, _ top: Double, _ title: String,
    _ values: (Layer) -> [Double], range: ClosedRange<Double>, _ text: (Double) -> String
  ) {
    let (x, y, width, height) = (left + 56, top + 16, 370.0, 210.0)
    let longest = layers.map { values($0).count }.max() ?? 1
    let span = range.upperBound > range.lowerBound ? range.upperBound - range.lowerBound : 1
    func point(_ index: Int, _ value: Double) -> (x: Double, y: Double) {
      (
        x + width * (longest > 1 ? Double(index) / Double(longest - 1) : 0.5),
        y + height * (1 - (value - range.lowerBound) / span)
      )
    }
    drawing.text(left, top, title, size: 13, fill: "#111", isBold: true)
    for part in 0...4 {
      let value = range.lowerBound + span * Double(part) / 4
      let level = point(0, value).y
      drawing.line([(x, level), (x + width, level)], stroke: "#ddd", width: 1)
      drawing.text(x - 6, level + 4, text(value), size: 10, anchor: "end")
    }
    for index in Set((0...4).map { $0 * (longest - 1) / 4 }).sorted() {
      drawing.text(
        point(index, 0).x, y + height + 16, "\(index + 1)", size: 10, anchor: "middle")
    }
    drawing.text(x + width / 2, y + height + 32, "rank", size: 10, anchor: "middle")
    for (number, kind) in kinds.enumerated() {
      let own = layers.filter { Self.kind($0.path) == kind }.map(values)
      let length = own.map(\.count).max() ?? 0
      let means = (0..<length).map { index in
        let there = own.compactMap { index < $0.count ? $0[index] : nil }
        return there.reduce(0, +) / Double(max(there.count, 1))
      }
      let points = means.enumerated().map { point($0.offset, $0.element) }
      let colour = Self.colours[number % Self.colours.count]
      if points.count == 1 {
        drawing.rectangle(points[0].x - 2, points[0].y - 2, 4, 4, fill: colour, note: kind)
      } else {
        drawing.line(points, stroke: colour, note: kind)
      }
    }
  }

  private func legend(_ drawing: inout VectorDrawing, _ top: Double) {
    for (number, kind) in kinds.enumerated() {
      let (x, y) = (80 + Double(number % 6) * 140, top + Double(number / 6) * 18)
      drawing.line(
        [(x, y - 4), (x + 18, y - 4)], stroke: Self.colours[number % Self.colours.count], width: 3)
      drawing.text(x + 24, y, kind)
    }
  }
}
