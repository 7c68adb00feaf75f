import Foundation
import Optimizers
import Quantization

/// The rules of `FusedOptimizer` once more, one element at a time, in any arithmetic, with states as
/// numbers or in codes that are found by comparing with every midpoint.
///
/// In float32 and with the constants rounded as the kernels' are, everything agrees to the last bit.
struct ReferenceOptimizer<T: BinaryFloatingPoint> {
  let settings: FusedOptimizerConfiguration
  let usesCodes: Bool
  var w: [T]
  var a: [T]
  var b: [T]
  var v: [T]
  /// Magnitudes of blocks, of the states in codes.
  var magnitudes: [String: [T]] = [:]
  var count = 0

  init(_ settings: FusedOptimizerConfiguration, _ w: [T], usesCodes: Bool = false) {
    self.settings = settings
    self.usesCodes = usesCodes
    self.w = w
    a = w.map { _ in 0 }
    b = a
    v = a
  }

  private var isAdam: Bool { [.adam, .adamW, .lamb].contains(settings.rule) }
  private var isMomentum: Bool { [.sgd, .lars].contains(settings.rule) }
  private var isDecoupled: Bool { isAdam || settings.rule == .lion || settings.rule == .adEMAMix }

  mutating func step(_ gradient: [T], rate base: Double) {
    count += 1
    let c = settings
    let (rate, t) = (base * c.learningRateFactor, Double(count))
    let (c1, c2) = (1 - pow(c.beta1, t), (1 - pow(c.beta2, t)).squareRoot())
    var scale = isAdam ? c2 / c1 : 1
    if let limit = c.maximumUpdateNorm {
      let own = w.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      let direction = w.indices.reduce(0.0) { sum, i in
        let d = self.direction(gradient[i], i, c2)
        return d.isFinite || !usesCodes ? sum + d * d : sum
      }.squareRoot()
      let length = direction * scale
      if own > 0 && length > limit * own { scale *= limit * own / length }
    }
    let keep = T(isDecoupled ? 1 - rate * c.weightDecay : 1)
    let decay = T(isDecoupled ? 0 : c.weightDecay)
    let step = T(rate * scale)
    let epsilon = T(isAdam ? c.epsilon * c2 : c.epsilon)
    let (b1, g1, b2, g2) = (T(c.beta1), T(1 - c.beta1), T(c.beta2), T(1 - c.beta2))
    var slow = c.beta3
    if let warmup = c.beta3Warmup, t < Double(warmup) {
      let s = t / Double(warmup)
      slow = min(
        slow, exp(log(c.beta1) * log(slow) / ((1 - s) * log(slow) + s * log(c.beta1))))
    }
    let (b3, g3) = (T(slow), T(1 - slow))
    let alpha = T(c.alphaWarmup.map { min(t / Double($0), 1) * c.alpha } ?? c.alpha)

    for i in w.indices {
      let g = gradient[i]
      let (old, oldMean) = (w[i], a[i])
      switch c.rule {
      case .adam, .adamW, .lamb:
        a[i] = b1 * a[i] + g1 * g
        v[i] = b2 * v[i] + g2 * g * g
        w[i] = w[i] * keep - step * (a[i] / (v[i].squareRoot() + epsilon))
      case .lion:
        let direction = b1 * oldMean + g1 * g
        a[i] = b2 * oldMean + g2 * g
        w[i] = w[i] * keep - step * (direction > 0 ? 1 : direction < 0 ? -1 : 0)
      case .sgd, .lars:
        a[i] = b1 * a[i] + (g + decay * w[i])
        w[i] -= step * a[i]
      case .rmsProp:
        let h = g + decay * w[i]
        a[i] = b2 * a[i] + g2 * h * h
        w[i] -= step * (h / (a[i].squareRoot() + epsilon))
      case .adagrad:
        let h = g + decay * w[i]
        a[i] += h * h
        w[i] -= step * (h / (a[i].squareRoot() + epsilon))
      case .adEMAMix:
        a[i] = b1 * a[i] + g1 * g
        b[i] = b3 * b[i] + g3 * g
        v[i] = b2 * v[i] + g2 * g * g
        let d = (a[i] * T(1 / c1) + alpha * b[i]) / (v[i].squareRoot() * T(1 / c2) + epsilon)
        w[i] = w[i] * keep - step * d
      }
      if usesCodes && !(a[i].isFinite && b[i].isFinite && v[i].isFinite) {
        (w[i], a[i], b[i], v[i]) = (old, 0, 0, 0)
      }
    }
    if usesCodes {
      a = coded(a, "a", .dynamic)
      b = coded(b, "b", .dynamic)
      v = coded(v, "v", .dynamicUnsigned)
    }
  }

  /// The direction whose length is limited, before the correction for the count of steps.
  private func direction(_ g: T, _ i: Int, _ c2: Double) -> Double {
    let c = settings
    if isMomentum { return Double(T(c.beta1) * a[i] + g) }
    let mean = T(c.beta1) * a[i] + T(1 - c.beta1) * g
    let square = T(c.beta2) * v[i] + T(1 - c.beta2) * g * g
    guard mean.isFinite && square.isFinite else { return .nan }
    return Double(mean / (square.squareRoot() + T(c.epsilon * c2)))
  }

  /// What is left of numbers when they have been put into codes; keeps the magnitudes.
  private mutating func coded(_ x: [T], _ name: String, _ map: CodeMap) -> [T] {
    let values = map.values.map { Double($0) }
    let size = settings.blockSize
    var (result, magnitudes) = (x, [T]())
    for start in stride(from: 0, to: x.count, by: size) {
      let block = start..<min(start + size, x.count)
      let largest = x[block].map { $0.magnitude }.max() ?? 0
      magnitudes.append(largest)
      for i in block where largest > 0 {
        let scaled = Double(max(-1, min(1, x[i] * (1 / largest))))
        var (low, high) = (0, 255)
        while low < high {
          let middle = (low + high) / 2
          if scaled > (values[middle] + values[middle + 1]) / 2 {
            low = middle + 1
          } else {
            high = middle
          }
        }
        result[i] = T(values[low]) * largest
      }
    }
    self.magnitudes[name] = magnitudes
    return result
  }
}
