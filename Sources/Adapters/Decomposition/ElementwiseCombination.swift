import Foundation
import Tensors

/// Rules that combine tensors of one shape element by element.
struct ElementwiseCombination {
  let combination: AdapterCombination
  let generator: Generator

  /// Combines weighted tensors.
  ///
  /// - Parameters:
  ///   - tensors: Of one shape; at least one.
  ///   - weights: One for each.
  /// - Returns: A tensor of that shape.
  func callAsFunction(_ tensors: [Tensor], _ weights: [Double]) -> Tensor {
    let kept = combination.kind.drops ? tensors.map(thinned) : tensors
    let weighted = zip(kept, weights).map { $0 * $1 }
    guard combination.kind.elects else {
      return weighted.dropFirst().reduce(weighted[0]) { $0 + $1 }
    }
    // Each adapter counts the same in the election, whatever its weight.
    let ballots = combination.majoritySign == .total ? kept : kept.map { $0.sign() }
    let sum = ballots.dropFirst().reduce(ballots[0]) { $0 + $1 }
    let elected = (sum .>= 0).to(sum.dtype) * 2 - 1
    let agreeing = kept.map { ($0.sign() .== elected).to(sum.dtype) }
    let count = agreeing.dropFirst().reduce(agreeing[0]) { $0 + $1 }.clamped(lower: 1)
    let terms = zip(weighted, agreeing).map { $0 * $1 }
    return terms.dropFirst().reduce(terms[0]) { $0 + $1 } / count
  }

  private func thinned(_ tensor: Tensor) -> Tensor {
    guard let density = combination.density, density < 1 else { return tensor }
    if combination.kind.isRandom {
      let drawn = Tensor.randomUniform(tensor.shape, generator: generator)
      let mask = (drawn .< density).to(tensor.dtype).to(device: tensor.device)
      return tensor * mask * (1 / density)
    }
    let count = Int(density * Double(tensor.count))
    let flat = tensor.reshaped([-1])
    let places = flat.absolute().largest(count).indices
    let mask = flat.zerosLike()
    mask.fillInPlace(0, at: places, 1)
    return (flat * mask).reshaped(tensor.shape)
  }
}

extension Tensor {
  /// The number below which a share of the elements lies, between two elements by their distance.
  func quantile(_ share: Double) -> Double {
    let sorted = reshaped([-1]).sorted().values
    let place = share * Double(sorted.count - 1)
    let below = Int(place)
    let pair = sorted.narrowed(0, below..<Swift.min(below + 2, sorted.count))
      .array(of: Double.self)
    return pair[0] + (pair[pair.count - 1] - pair[0]) * (place - Double(below))
  }
}
