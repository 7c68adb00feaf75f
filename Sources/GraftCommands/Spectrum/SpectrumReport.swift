import Adapters
import Foundation
import JSONValues

/// Singular values of the updates, or weights, of some layers.
struct SpectrumReport {
  struct Layer {
    /// The layer's path in the model.
    let path: String
    /// `[outputSize, inputSize]`.
    let shape: [Int]
    let spectrum: Spectrum
    /// ||D|| / ||W||, where the base is known.
    let relativeNorm: Double?
    /// Against the same layer of another adapter: left and right singular vectors.
    let angles: (left: SubspaceAngles, right: SubspaceAngles)?
  }

  /// What was looked at.
  let title: String
  /// What it is compared with.
  let against: String?
  let layers: [Layer]
  /// What `spectrum` of the JSON puts before a path.
  let prefix: String

  /// Singular values by layer.
  var values: JSON {
    .object(
      JSONObject(
        layers.map { (prefix + $0.path, .array($0.spectrum.values.map(JSON.number))) }))
  }

  /// Everything else by layer.
  var details: JSON { .array(layers.map(Self.json)) }

  private static func json(_ layer: Layer) -> JSON {
    let spectrum = layer.spectrum
    var object = JSONObject([
      ("path", .string(layer.path)), ("shape", .array(layer.shape.map(JSON.integer))),
      ("rank", .integer(spectrum.values.count)),
      ("numerical_rank", .integer(spectrum.numericalRank)),
      ("effective_rank", .number(spectrum.effectiveRank)),
      ("stable_rank", .number(spectrum.stableRank)), ("norm", .number(spectrum.norm)),
      ("relative_norm", layer.relativeNorm.map(JSON.number) ?? .null),
      ("energy", .array(spectrum.energies.map(JSON.number))),
    ])
    if let (left, right) = layer.angles {
      for (name, found) in [("left", left), ("right", right)] {
        object["\(name)_angles"] = .array(found.angles.map { .number($0.degrees) })
        object["\(name)_overlap"] = .number(found.overlap)
      }
    }
    return .object(object)
  }

  /// One paragraph for each layer.
  var text: String {
    let width = layers.map(\.path.count).max() ?? 0
    return layers.map { layer in
      let spectrum = layer.spectrum
      var line =
        "  \(layer.path.padded(width))  \(Self.bars(spectrum.values))  norm "
        + String(spectrum.norm.shortText)
      if let norm = layer.relativeNorm { line += " (\(norm.percent) of the base's)" }
      line +=
        ", effective rank \(spectrum.effectiveRank.fixed(1)) of \(spectrum.values.count), "
        + "90 % of the energy at \(spectrum.rank(retaining: 0.9)), "
        + "99 % at \(spectrum.rank(retaining: 0.99))\n"
      let shown = spectrum.values.prefix(16).map(\.shortText).joined(separator: " ")
      line += "    \(shown)\(spectrum.values.count > 16 ? " …" : "")\n"
      if let (left, right) = layer.angles {
        line += "    angles left \(Self.range(left)), right \(Self.range(right))\n"
      }
      return line
    }.joined()
  }

  private static func range(_ found: SubspaceAngles) -> String {
    guard let first = found.angles.first, let last = found.angles.last else { return "none" }
    return "\(first.degrees.fixed(1))° to \(last.degrees.fixed(1))°, overlap "
      + found.overlap.fixed(3)
  }

  /// Up to 16 blocks, as high as the singular values in relation to the largest.
  private static func bars(_ values: [Double]) -> String {
    let blocks = Array("▁▂▃▄▅▆▇█")
    guard let largest = values.first, largest > 0 else { return "·" }
    let count = min(values.count, 16)
    return String(
      (0..<count).map { index in
        let value = values[index * values.count / count] / largest
        return blocks[min(blocks.count - 1, Int(value * Double(blocks.count)))]
      })
  }
}

extension Double {
  /// Radians as degrees.
  var degrees: Double { self * 180 / .pi }

  /// Four digits that count.
  var shortText: String { JSON.number(rounded(digits: 4)).serialized() }

  private func rounded(digits: Int) -> Double { Double(String(self, digits: digits)) ?? self }
}

extension String {
  fileprivate init(_ value: Double, digits: Int) {
    self.init(format: "%.\(digits)g", value)
  }

  /// Filled up with spaces.
  func padded(_ width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - count))
  }
}
