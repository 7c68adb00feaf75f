public import Layers
public import Tensors

/// How a quantised layer computes the gradient of its input, g W.
public enum InputGradient {
  /// From the dequantised weight, in float32 or the gradient's type.
  case dequantized
  /// In whole numbers of 8 bits: each row of the gradient, its columns times W's scales, is quantised
  /// and multiplied with W's codes; a weight in codes of 4 bits is rounded to 8 bits by rows first.
  ///
  /// With s the scales of W's rows, t = max |g s| of a row of g, and c the codes, an element of the
  /// result is off by at most t / 254 times the sum of |c| of its column of W / 127; a weight in codes
  /// of 4 bits is itself off by at most s / 254.
  ///
  /// Source: SwitchBack, Wortsman et al. 2023, arXiv 2304.13013. There W has one scale; here its rows'
  /// scales go into the gradient before that is quantised.
  case int8
  /// As `int8`, rounded at random with the gradient as the mean; draws from the generator.
  case int8Stochastic(Generator)

  /// Rows of a gradient times a number for each column, in codes.
  ///
  /// - Parameters:
  ///   - gradient: `[..., columns]` on the processor.
  ///   - factors: float32 `[columns]`.
  /// - Returns: `[rows, columns]`; nil where it is not quantised.
  func codes(of gradient: Tensor, times factors: Tensor) -> RowCodes? {
    switch self {
    case .dequantized: return nil
    case .int8:
      let rows = gradient.rows()
      return RowCodes(
        quantizing: rows.to(quantizableType(rows.dtype)), columnFactors: factors,
        needsSums: true)
    case .int8Stochastic(let generator):
      let draw = Tensor.empty([1], dtype: .float64)
      draw.fillUniformInPlace(0, 0x1p53, generator: generator)
      return RowCodes(
        roundingStochastically: gradient.rows().to(.float32) * factors, seed: UInt64(draw.item()))
    }
  }
}

/// A quantised projection whose input's gradient can be computed in several ways.
package protocol QuantizedProjection: GroupedProjection {
  /// How the gradient of the input is computed.
  var inputGradient: InputGradient { get set }
  /// W in codes of 8 bits by rows, perhaps rounded to them.
  func rowCodes() -> RowCodes
}

extension QuantizedProjection {
  /// Whether gradients pass in whole numbers.
  package var roundsGradients: Bool {
    if case .dequantized = inputGradient { return false }
    return device.kind == .cpu
  }

  /// g W in whole numbers, as ``inputGradient`` says; nil where that is not to be or cannot be.
  ///
  /// - Parameters:
  ///   - gradient: `[..., outputSize]`.
  ///   - term: What is added, for each row of the gradient; nil for nothing.
  ///   - sum: float32 `[rows, inputSize]`, which the result is added to in its place; nil for none.
  /// - Returns: float32 `[rows, inputSize]`.
  func wholeNumberGradient(
    _ gradient: Tensor, adding term: NarrowTerm? = nil, to sum: Tensor? = nil
  ) -> Tensor? {
    guard roundsGradients else { return nil }
    let weight = rowCodes()
    return inputGradient.codes(of: gradient, times: weight.scales * (1 / 127.0))?
      .multiplied(byColumnsOf: weight.codes, adding: term, to: sum)
  }

  /// Of the kind ``InputGradient/int8``.
  package func gradientRounding() -> GradientRounding? {
    guard case .int8 = inputGradient, roundsGradients else { return nil }
    let weight = rowCodes()
    return GradientRounding(columnFactors: weight.scales * (1 / 127.0)) { rows, term, sum in
      RowCodes(rows).multiplied(byColumnsOf: weight.codes, adding: term, to: sum)
    }
  }

  package func pulledBack(
    _ gradients: [Tensor?], of group: [any LinearProjection], adding term: NarrowTerm?
  ) -> Tensor? {
    let layers = group.compactMap { $0 as? any QuantizedProjection }
    guard layers.count == group.count, layers.allSatisfy(\.roundsGradients) else {
      return nil
    }
    var (sum, rest) = (Tensor?.none, term)
    for (layer, gradient) in zip(layers, gradients) {
      guard let gradient,
        let next = layer.wholeNumberGradient(gradient, adding: rest, to: sum)
      else { continue }
      (sum, rest) = (next, nil)
    }
    return sum
  }
}

extension Module {
  /// Decides for all quantised layers below this module how they compute the gradient of their input.
  ///
  /// - Parameter kind: The way.
  public func setInputGradients(_ kind: InputGradient) {
    for (_, module) in modules() {
      // A projection without adapters is no part of its layer, but what it computes with.
      let layer: any Module = (module as? Linear)?.projection ?? module
      (layer as? any QuantizedProjection)?.inputGradient = kind
    }
  }
}
