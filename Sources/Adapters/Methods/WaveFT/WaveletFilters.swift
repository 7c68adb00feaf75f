import Tensors

/// Filters of orthogonal wavelets, by which coefficients are put together.
///
/// Source: Daubechies 1992, "Ten Lectures on Wavelets".
struct WaveletFilters {
  /// Low-pass filter; its length is even.
  let low: [Double]

  /// High-pass filter: the low-pass one backwards, with every second sign changed.
  var high: [Double] {
    low.reversed().enumerated().map { $0.offset.isMultiple(of: 2) ? $0.element : -$0.element }
  }

  /// Finds a wavelet.
  ///
  /// - Parameter name: For example "db1", "sym4" or "coif2".
  init?(_ name: String) {
    guard let low = Self.all[name] else { return nil }
    self.low = low
  }

  /// Names of the wavelets, sorted by family and length.
  static let names: [String] = families.flatMap { prefix, first, filters in
    filters.indices.map { "\(prefix)\(first + $0)" }
  }

  /// Whether PEFT accepts a name, if only where the wavelet is not used.
  static func isName(_ name: String) -> Bool {
    [("db", 1...38), ("sym", 2...20), ("coif", 1...17)].contains { prefix, numbers in
      numbers.contains { "\(prefix)\($0)" == name }
    }
  }

  private static let families = [
    ("db", 1, daubechies), ("sym", 2, symlets), ("coif", 1, coiflets),
  ]

  private static let all: [String: [Double]] = Dictionary(
    uniqueKeysWithValues: zip(names, families.flatMap(\.2)))

  /// How much longer coefficients are than what they make, by the filter's length.
  var excess: Int { low.count - 2 }

  /// One level of the inverse transform over both dimensions.
  ///
  /// ## Shapes
  /// - bands: `[height, width]`, even: smooth parts in its upper left quarter, then what the high-pass
  ///   filter makes down the columns (upper right) and along the rows (lower left), and both (lower
  ///   right); result: `[height - excess, width - excess]`.
  ///
  /// - Parameter bands: The coefficients.
  /// - Returns: A new tensor, differentiable in the coefficients.
  func inverse(_ bands: Tensor) -> Tensor {
    let (height, width) = (bands.size(0) / 2, bands.size(1) / 2)
    let rows = [0..<height, height..<2 * height].map { half in
      let own = bands.narrowed(0, half)
      return combined(
        own.narrowed(1, 0..<width), own.narrowed(1, width..<2 * width), along: 0)
    }
    return combined(rows[0], rows[1], along: 1)
  }

  /// Coefficients of both filters put together along one dimension: what element 2 t + p gets of them
  /// are the elements of the filters that are 2 k + p, times the coefficients t - k.
  private func combined(_ smooth: Tensor, _ rough: Tensor, along dimension: Int) -> Tensor {
    let (high, taps, length) = (high, low.count / 2, smooth.size(dimension))
    let phases = (0..<2).map { phase in
      let terms = (0..<taps).map { tap in
        let range = taps - 1 - tap..<length - tap
        return (smooth.narrowed(dimension, range) * low[2 * tap + phase])
          .adding(rough.narrowed(dimension, range), scale: high[2 * tap + phase])
      }
      return terms.dropFirst().reduce(terms[0]) { $0 + $1 }
    }
    var shape = phases[0].shape
    shape[dimension] *= 2
    return Tensor.stacked(phases, dimension: dimension + 1).reshaped(shape)
  }
}
