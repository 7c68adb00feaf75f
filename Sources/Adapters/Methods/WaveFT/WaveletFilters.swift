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
    let filters = Tensor(low + high, shape: [2, 1, low.count]).to(bands.dtype)
      .to(device: bands.device)
    // [low or high across, low or high down, height, width]
    let quarters = bands.reshaped([2, height, 2, width]).permuted([0, 2, 1, 3])
    let down = quarters.transposedConvolution2D(
      filters.unsqueezed(3), stride: [2, 1], cropped: [excess, 0])  // [2, 1, height', width]
    return down.transposed(0, 1).transposedConvolution2D(
      filters.unsqueezed(2), stride: [1, 2], cropped: [0, excess]
    ).selected(0, 0).selected(0, 0)
  }
}
