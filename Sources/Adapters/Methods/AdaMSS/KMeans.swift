import Tensors

/// Groups of points by Lloyd's k-means, as scikit-learn 1.9 finds them with random starts, one attempt,
/// ten iterations and a seed.
///
/// The starts are the same points as there; distances are computed in float32. Where a point is as far
/// from one centre as from another, rounding decides.
///
/// Source: Lloyd 1982, "Least squares quantization in PCM".
enum KMeans {
  /// The number of each point's group.
  ///
  /// - Parameters:
  ///   - points: `[count, size]`.
  ///   - count: Groups, at most as many as points.
  ///   - seed: Start of the random numbers.
  /// - Returns: A number below `count` for each point.
  static func labels(of points: Tensor, count: Int, seed: UInt32) -> [Int] {
    let wide = points.detached().to(device: .cpu).to(.float32)
    let x = wide - wide.mean([0], keepDimensions: true)
    let tolerance = (x * x).mean().item() * 1e-4
    var generator = MersenneTwister(seed: seed)
    var centers = x.selecting(0, Tensor(generator.choose(count, below: x.size(0))))
    var previous: Tensor?
    for _ in 0..<10 {
      let labels = nearest(x, centers)
      let moved = means(x, labels, centers)
      let shift = (moved - centers).norm().item()
      centers = moved
      if let previous, labels.isEqual(to: previous) { return labels.array(of: Int.self) }
      if shift * shift <= tolerance { break }
      previous = labels
    }
    return nearest(x, centers).array(of: Int.self)
  }

  /// The nearest centre of each point, the first one of equals; int64 `[count]`.
  private static func nearest(_ x: Tensor, _ centers: Tensor) -> Tensor {
    // Without the point's own length, which all distances have.
    let lengths = (centers * centers).sum([1]).unsqueezed(0)
    return (-lengths.addingMatrixProduct(x, centers.transposed(), scale: -2)).indexOfMaximum(1)
  }

  /// The mean of each group; one that is empty begins again at the point that is farthest from its own.
  private static func means(_ x: Tensor, _ labels: Tensor, _ centers: Tensor) -> Tensor {
    let sums = centers.zerosLike().addInPlace(0, at: labels, x)
    let ones = Tensor.ones([x.size(0), 1])
    let counts = Tensor.zeros([centers.size(0), 1]).addInPlace(0, at: labels, ones)
    let empty = (counts .== 0).nonzeroIndices().selected(1, 0)
    guard empty.count > 0 else { return sums / counts }
    let rest = x - centers.selecting(0, labels)
    let (distances, far) = (rest * rest).sum([1]).largest(empty.count)
    if distances.selected(0, 0).item() > 0 {
      let taken = labels.selecting(0, far)
      let (moved, one) = (x.selecting(0, far), Tensor.ones([far.count, 1]))
      sums.addInPlace(0, at: taken, -moved).addInPlace(0, at: empty, moved)
      counts.addInPlace(0, at: taken, -one).addInPlace(0, at: empty, one)
    }
    return sums / counts.clamped(lower: 1)
  }
}

/// The random numbers that NumPy's `RandomState(seed)` gives.
///
/// Source: Matsumoto and Nishimura 1998, "Mersenne Twister: a 623-dimensionally equidistributed uniform
/// pseudo-random number generator".
struct MersenneTwister {
  private var state: [UInt32]
  private var position = 624

  init(seed: UInt32) {
    state = [seed]
    for index in 1..<624 {
      let last = state[index - 1]
      state.append(1_812_433_253 &* (last ^ last >> 30) &+ UInt32(index))
    }
  }

  private mutating func next() -> UInt32 {
    if position == 624 {
      for index in 0..<624 {
        let joined = state[index] & 0x8000_0000 | state[(index + 1) % 624] & 0x7FFF_FFFF
        state[index] =
          state[(index + 397) % 624] ^ joined >> 1 ^ (joined & 1) &* 0x9908_B0DF
      }
      position = 0
    }
    var value = state[position]
    position += 1
    value ^= value >> 11
    value ^= value << 7 & 0x9D2C_5680
    value ^= value << 15 & 0xEFC6_0000
    return value ^ value >> 18
  }

  /// Uniform in [0, 1), of 53 bits.
  mutating func uniform() -> Double {
    let (high, low) = (next() >> 5, next() >> 6)
    return (Double(high) * 0x1p26 + Double(low)) * 0x1p-53
  }

  /// Distinct numbers below `total`, as NumPy's `choice(total, count, replace=False, p=p)` with equal
  /// float32 weights.
  mutating func choose(_ count: Int, below total: Int) -> [Int] {
    precondition(count <= total, "\(count) distinct numbers below \(total)")
    var weights = [Double](repeating: Double(1 / Float(total)), count: total)
    var chosen: [Int] = []
    while chosen.count < count {
      let draws = (chosen.count..<count).map { _ in uniform() }
      for index in chosen { weights[index] = 0 }
      var sums: [Double] = []
      for weight in weights { sums.append((sums.last ?? 0) + weight) }
      let last = sums[total - 1]
      for index in sums.indices { sums[index] /= last }
      for draw in draws {
        let found = sums.firstIndex { $0 > draw } ?? total - 1
        if !chosen.contains(found) { chosen.append(found) }
      }
    }
    return chosen
  }
}
