import Adapters

extension SpectrumReport {
  /// An HTML document with the picture and a row for each layer; it needs no other file.
  var page: String {
    let hasNorms = layers.contains { $0.relativeNorm != nil }
    let head =
      ["layer", "shape", "rank", "norm"] + (hasNorms ? ["of the base's"] : [])
      + ["effective rank", "90 % at", "99 % at", "largest", "smallest"]
      + (against == nil ? [] : ["output angles", "input angles"])
    let rows = layers.map { layer in
      row(layer, hasNorms: hasNorms)
    }
    return """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <title>\("Spectrum of \(title)".escapedForMarkup)</title>
      <style>
      body { font: 14px system-ui, sans-serif; margin: 2em auto; max-width: 1100px; color: #222 }
      svg { max-width: 100%; height: auto }
      table { border-collapse: collapse; font-variant-numeric: tabular-nums }
      th, td { padding: 3px 10px; text-align: right; border-bottom: 1px solid #ddd }
      th:first-child, td:first-child { text-align: left }
      </style>
      </head>
      <body>
      \(picture)
      <table>
      <thead><tr>\(head.map { "<th>\($0)</th>" }.joined())</tr></thead>
      <tbody>
      \(rows.joined(separator: "\n"))
      </tbody>
      </table>
      </body>
      </html>

      """
  }

  private func row(_ layer: Layer, hasNorms: Bool) -> String {
    let spectrum = layer.spectrum
    var cells = [
      layer.path.escapedForMarkup, layer.shape.map(String.init).joined(separator: " × "),
      "\(spectrum.values.count)", spectrum.norm.shortText,
    ]
    if hasNorms { cells.append(layer.relativeNorm?.percent ?? "") }
    cells += [
      spectrum.effectiveRank.fixed(1), "\(spectrum.rank(retaining: 0.9))",
      "\(spectrum.rank(retaining: 0.99))", spectrum.values.first?.shortText ?? "",
      spectrum.values.last?.shortText ?? "",
    ]
    if against != nil {
      for found in [layer.angles?.left, layer.angles?.right] {
        cells.append(
          found?.angles.first.flatMap { first in
            found?.angles.last.map { "\(first.degrees.fixed(1))° to \($0.degrees.fixed(1))°" }
          } ?? "")
      }
    }
    return "<tr>\(cells.map { "<td>\($0)</td>" }.joined())</tr>"
  }
}
