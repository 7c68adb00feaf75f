import Layers
public import Optimizers
public import Tensors

/// The state of a whole optimiser, of which each process takes its slices.
extension ShardedOptimizer {
  /// Takes this process's slices of the state of a whole optimiser.
  ///
  /// - Parameter saved: Tensors by the names of an optimiser that is not shared out.
  /// - Throws: `OptimizerError` when one is missing or does not fit; nothing is changed then.
  public func load(_ saved: [String: Tensor]) throws(OptimizerError) {
    var own: [String: Tensor] = [:]
    for (name, tensor) in state {
      let key = StateKey(name, isSliced: true)
      guard let whole = saved[key.wholeName] else {
        throw .state(name: key.wholeName, reason: "is missing")
      }
      guard let start = key.start, let slice = slice(key.parameter, start) else {
        own[name] = whole
        continue
      }
      let parameter = exchange.parameters[slice.index]
      own[name] = try cut(whole, key, tensor, slice.range, of: parameter.count)
    }
    try optimizer.load(own)
  }

  /// The slice of a parameter that begins at an element.
  func slice(_ name: String, _ start: Int) -> Slice? {
    slices.first { names[$0.index] == name && $0.range.lowerBound == start }
  }

  /// The part of a whole state that belongs to a slice: by elements, or by blocks of elements.
  private func cut(
    _ whole: Tensor, _ key: StateKey, _ own: Tensor, _ range: Range<Int>, of count: Int
  ) throws(OptimizerError) -> Tensor {
    if key.isShared { return whole }
    let (first, width) = (range.lowerBound / key.unit, own.size(-1))
    let rows = own.count / max(width, 1)
    let length = key.width(count)
    guard whole.count == rows * length else {
      throw .state(
        name: key.wholeName, reason: "has \(whole.count) elements, expected \(rows * length)")
    }
    return whole.reshaped([rows, length]).narrowed(1, first..<(first + width)).contiguous()
      .reshaped(own.shape)
  }
}
