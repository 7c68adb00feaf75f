import Adapters
import Checkpoints
import Foundation
import JSONValues
import Layers
import Models
import Tensors

extension SpectrumReport {
  /// Reads what `graft inspect --spectrum` names: an adapter's updates, a model's weights, or with a
  /// base what a model's weights were changed by.
  init(path: String, against: String?, base: String?) throws {
    let weights = try base.map { try BaseWeights($0) }
    let own = try SpectrumSource(path, base: weights)
    let other = try against.map { name in
      try SpectrumSource(HubNames.directory(of: name, .any), base: weights)
    }
    var layers: [Layer] = []
    for entry in own.layers {
      let found = try entry.decomposition()
      let norm = try weights?.norm(of: entry.path)
      var angles: (left: SubspaceAngles, right: SubspaceAngles)?
      if let match = other?.layers.first(where: { $0.path == entry.path }) {
        guard match.shape == entry.shape else {
          throw DecompositionError.mismatch(
            what: "\(match.path) of \(against ?? "")", expected: "shape \(entry.shape)",
            actual: "\(match.shape)")
        }
        angles = Self.angles(
          found, entry.isDense, try match.decomposition(), match.isDense)
      }
      let spectrum = Spectrum(found.values)
      layers.append(
        Layer(
          path: entry.path, shape: entry.shape, spectrum: spectrum,
          relativeNorm: norm.flatMap { $0 > 0 ? spectrum.norm / $0 : nil }, angles: angles))
    }
    if let against, !layers.contains(where: { $0.angles != nil }) {
      throw DecompositionError.mismatch(
        what: against, expected: "layers of \(path)", actual: "no layer in common")
    }
    self.init(
      title: path, against: against, layers: layers,
      prefix: own.isAdapter ? "base_model.model." : "")
  }

  /// Angles between the spans of the singular vectors that are more than rounding; a dense matrix spans
  /// everything, so that its leading ones are taken, as many as the other has.
  private static func angles(
    _ first: SingularValueDecomposition, _ firstIsDense: Bool,
    _ second: SingularValueDecomposition, _ secondIsDense: Bool
  ) -> (left: SubspaceAngles, right: SubspaceAngles) {
    var (p, q) = (Spectrum(first.values).numericalRank, Spectrum(second.values).numericalRank)
    switch (firstIsDense, secondIsDense) {
    case (true, true): (p, q) = (min(p, 16), min(q, 16))
    case (true, false): p = min(p, q)
    case (false, true): q = min(p, q)
    default: break
    }
    return (
      SubspaceAngles(first.u.narrowed(1, 0..<p), second.u.narrowed(1, 0..<q)),
      SubspaceAngles(
        first.vt.narrowed(0, 0..<p).transposed(), second.vt.narrowed(0, 0..<q).transposed())
    )
  }
}

/// Matrices to look at, each decomposed when it is asked for.
private struct SpectrumSource {
  typealias Entry = (
    path: String, shape: [Int], isDense: Bool,
    decomposition: () throws -> SingularValueDecomposition
  )
  let layers: [Entry]
  let isAdapter: Bool

  init(_ path: String, base: BaseWeights?) throws {
    let files = FileManager.default
    if files.fileExists(atPath: path + "/adapter_config.json") {
      isAdapter = true
      layers = try LowRankAdapter(directory: path).layers.map { layer in
        let update = layer.update
        return (
          layer.path, [update.b.size(0), update.a.size(1)], false,
          { try update.decomposition(name: "\(path): \(layer.path)") }
        )
      }
      return
    }
    isAdapter = false
    if path.hasSuffix(".safetensors") {
      let file = try SafetensorsFile(path: path)
      layers = file.entries.filter {
        $0.shape.count == 2 && $0.elementCount > 0 && $0.dtype.dtype?.isFloatingPoint == true
      }.map { entry in
        (
          entry.name, entry.shape, true,
          {
            try SingularValueDecomposition(
              try file.tensor(entry), name: "\(path): \(entry.name)")
          }
        )
      }
      return
    }
    let model = try BaseWeights(path)
    layers = model.layers.map { name, layer in
      (
        name, [layer.outputSize, layer.inputSize], true,
        {
          var weight = layer.projection.denseWeight().to(.float64)
          if let base {
            let before = try base.weight(of: name)
            guard before.shape == weight.shape else {
              throw DecompositionError.mismatch(
                what: "\(path): \(name)", expected: "shape \(before.shape), as in the base",
                actual: "\(weight.shape)")
            }
            weight = weight - before.to(.float64)
          }
          return try SingularValueDecomposition(weight, name: "\(path): \(name)")
        }
      )
    }
  }
}

/// Linear layers of a model, mapped from its files.
private final class BaseWeights {
  let path: String
  let layers: [(path: String, layer: Linear)]
  private let byPath: [String: Linear]

  init(_ path: String) throws {
    self.path = path
    let model = try AutoModelForCausalLM.fromPretrained(
      ModelSource.directory(of: path), dtype: nil)
    layers = model.modules().compactMap { entry in
      (entry.module as? Linear).map { (entry.path, $0) }
    }
    byPath = Dictionary(layers.map { ($0.path, $0.layer) }, uniquingKeysWith: { first, _ in first })
  }

  func weight(of name: String) throws -> Tensor {
    guard let layer = byPath[name] else {
      throw CheckpointError.lacks(path: path, what: "the linear layer \(name)")
    }
    return layer.projection.denseWeight()
  }

  func norm(of name: String) throws -> Double {
    let weight = try weight(of: name).to(.float64)
    guard weight.isAllFinite else {
      throw DecompositionError.notFinite(what: "\(path): \(name)")
    }
    return weight.norm().item()
  }
}
