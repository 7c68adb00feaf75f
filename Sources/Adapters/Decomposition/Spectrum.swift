import Foundation

/// What the singular values of a matrix say about it.
public struct Spectrum: Equatable, Sendable {
  /// Singular values, descending.
  public let values: [Double]
  /// ||A||, the root of the sum of their squares.
  public let norm: Double
  /// At each rank from 1 on, the share of ||A||^2 that the values up to it have.
  public let energies: [Double]

  /// Describes singular values.
  ///
  /// - Parameter values: Descending, none negative.
  public init(_ values: [Double]) {
    self.values = values
    let total = values.reduce(0) { $0 + $1 * $1 }
    norm = total.squareRoot()
    var sum = 0.0
    energies = values.map { value in
      sum += value * value
      return total > 0 ? min(1, sum / total) : 1
    }
  }

  /// Exponential of the entropy of the singular values' shares of their sum: r for r equal values, 0
  /// for a matrix of zeros.
  ///
  /// Source: Roy and Vetterli 2007, "The effective rank", 15th European Signal Processing Conference.
  public var effectiveRank: Double {
    let sum = values.reduce(0, +)
    guard sum > 0 else { return 0 }
    return exp(
      values.reduce(0) { entropy, value in
        let share = value / sum
        return share > 0 ? entropy - share * log(share) : entropy
      })
  }

  /// ||A||^2 over the square of the largest singular value; 0 for a matrix of zeros.
  public var stableRank: Double {
    guard let largest = values.first, largest > 0 else { return 0 }
    return norm * norm / (largest * largest)
  }

  /// How many values are more than rounding: above 1e-7 of the largest, the precision of files in
  /// float32.
  public var numericalRank: Int {
    guard let largest = values.first, largest > 0 else { return 0 }
    return values.count { $0 > 1e-7 * largest }
  }

  /// The least rank that has a share of ||A||^2.
  ///
  /// - Parameter share: In 0...1.
  /// - Returns: The rank, at least 1 where there is a value.
  public func rank(retaining share: Double) -> Int {
    (energies.firstIndex { $0 >= min(share, 1 - 1e-15) } ?? max(values.count - 1, 0)) + 1
  }
}
