public import Tensors
public import Testing

/// Expects two tensors to have one shape and nearly equal elements.
///
/// An element passes when |actual - expected| <= absolute + relative * |expected|. A failure names
/// the worst element.
public func expectClose(
  _ actual: Tensor, _ expected: Tensor, absolute: Double = 1e-6, relative: Double = 1e-5,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  guard actual.shape == expected.shape else {
    Issue.record(
      "shape \(actual.shape) instead of \(expected.shape)", sourceLocation: sourceLocation)
    return
  }
  let (left, right) = (actual.array(of: Double.self), expected.array(of: Double.self))
  var worst = (index: -1, excess: 0.0)
  for (index, (a, b)) in zip(left, right).enumerated() {
    let excess = abs(a - b) - absolute - relative * abs(b)
    if excess > worst.excess || excess.isNaN { worst = (index, excess.isNaN ? .infinity : excess) }
  }
  if worst.index >= 0 {
    Issue.record(
      """
      element \(worst.index) of shape \(actual.shape) is \(left[worst.index]) instead of \
      \(right[worst.index]) (absolute \(absolute), relative \(relative))
      """, sourceLocation: sourceLocation)
  }
}

/// Expects the gradients of `function` to equal central finite differences.
///
/// `inputs` are float64 tensors; the function's outputs are summed with fixed random weights so
/// that every output element counts.
public func expectGradientsMatchFiniteDifferences(
  of inputs: [Tensor], step: Double = 1e-5, tolerance: Double = 1e-6,
  sourceLocation: SourceLocation = #_sourceLocation, _ function: ([Tensor]) -> Tensor
) {
  let weights = Tensor.randomNormal(
    withoutGradients { function(inputs).shape }, dtype: .float64, generator: Generator(seed: 7))
  func value(_ inputs: [Tensor]) -> Tensor { (function(inputs) * weights).sum() }

  let leaves = inputs.map { input in
    let leaf = input.detached().cloned()
    leaf.requiresGradient = true
    return leaf
  }
  value(leaves).backward()
  for (position, input) in inputs.enumerated() {
    var expected = [Double](repeating: 0, count: input.count)
    for index in 0..<input.count {
      func shifted(_ amount: Double) -> Double {
        var elements = input.array(of: Double.self)
        elements[index] += amount
        var moved = inputs
        moved[position] = Tensor(elements, shape: input.shape)
        return withoutGradients { value(moved).item() }
      }
      expected[index] = (shifted(step) - shifted(-step)) / (2 * step)
    }
    guard let gradient = leaves[position].gradient else {
      Issue.record("input \(position) got no gradient", sourceLocation: sourceLocation)
      continue
    }
    expectClose(
      gradient, Tensor(expected, shape: input.shape), absolute: tolerance, relative: tolerance,
      sourceLocation: sourceLocation)
  }
}
