import Tensors

/// How a skew-symmetric matrix Q becomes an orthogonal one.
enum CayleyTransform: Equatable {
  /// (I + Q) (I - Q)^-1 by the first terms of its series.
  case series(terms: Int)
  /// (I + Q) (I - Q)^-1.
  case exact
  /// (I - Q) (I + Q)^-1, the transpose of ``exact``.
  case transposed

  /// Transforms matrices.
  ///
  /// The series is that of PEFT: I + 2 Q + 2 Q^2 + ... with the last power, the one of `terms - 1`,
  /// counted once; with 3 terms it goes up to Q^3, as with 4.
  ///
  /// - Parameter q: Skew-symmetric, `[..., n, n]`.
  /// - Returns: `[..., n, n]`, differentiable in q.
  func callAsFunction(_ q: Tensor) -> Tensor {
    let identity = Tensor.identity(q.size(-1), dtype: q.dtype, device: q.device)
    switch self {
    // Both factors are functions of Q, so that their order does not matter.
    case .exact: return (identity - q).solve(identity + q)
    case .transposed: return (identity + q).solve(identity - q)
    case .series(let terms):
      if terms < 2 { return identity.expanded(q.shape) + q * 0 }
      var sum = identity.adding(q, scale: 2)
      if terms < 3 { return sum }
      var power = q.matrixProduct(q)
      sum = sum.adding(power, scale: 2)
      for _ in 3..<max(terms - 1, 3) {
        power = power.matrixProduct(q)
        sum = sum.adding(power, scale: 2)
      }
      return sum + power.matrixProduct(q)
    }
  }
}

/// Skew-symmetric matrices by what is above their diagonals, row by row.
struct UpperTriangles {
  /// Rows and columns of each matrix.
  let size: Int
  /// Where the numbers go in a flat matrix, `[size (size - 1) / 2]`.
  private let places: Tensor

  init(size: Int, device: Device) {
    self.size = size
    places = Tensor.ones([size, size], device: device).upperTriangle(1)
      .reshaped([size * size]).nonzeroIndices().reshaped([Self.count(size)])
  }

  /// Numbers above the diagonal.
  static func count(_ size: Int) -> Int { size * (size - 1) / 2 }

  /// The matrices.
  ///
  /// - Parameter upper: `[count, size (size - 1) / 2]`.
  /// - Returns: `[count, size, size]`, differentiable in upper.
  func skewSymmetric(_ upper: Tensor) -> Tensor {
    let count = upper.size(0)
    let triangles = Tensor.zeros([count, size * size], dtype: upper.dtype, device: upper.device)
      .scattering(1, places.unsqueezed(0).expanded([count, -1]), upper)
      .reshaped([count, size, size])
    return triangles - triangles.transposed()
  }
}

extension Tensor {
  /// Each block of the last dimension times a matrix of its own.
  ///
  /// ## Shapes
  /// - self: `[..., blocks * size]`, rotations: `[blocks, size, size]`, or `[1, size, size]` for one
  ///   that all blocks share; result: like self.
  func rotatingBlocks(_ rotations: Tensor) -> Tensor {
    let (blocks, size) = (rotations.size(0), rotations.size(-1))
    if blocks == 1 {
      return reshaped([count / size, size]).matrixProduct(rotations.selected(0, 0))
        .reshaped(shape)
    }
    return reshaped([count / (blocks * size), blocks, size]).transposed(0, 1)
      .matrixProduct(rotations).transposed(0, 1).reshaped(shape)
  }
}

extension AdapterContext {
  /// Rotations with some of them, drawn anew, replaced by the identity in training.
  ///
  /// - Parameters:
  ///   - rotations: `[count, size, size]`.
  ///   - share: Share of them; rounded down to a number.
  /// - Returns: `[count, size, size]`.
  func withoutSome(_ rotations: Tensor, _ share: Double) -> Tensor {
    let dropped = Int(share * Double(rotations.size(0)))
    guard isTraining, dropped > 0, rotations.size(0) > 1 else { return rotations }
    let (count, device) = (rotations.size(0), rotations.device)
    let mask = withoutGradients {
      let chosen = Tensor.randomUniform([count], device: device, generator: generator)
        .largest(dropped).indices
      return Tensor.zeros([count], device: device).fillInPlace(0, at: chosen, 1)
        .reshaped([count, 1, 1]) .> 0
    }
    let identity = Tensor.identity(
      rotations.size(-1), dtype: rotations.dtype, device: rotations.device)
    return .choosing(mask, identity, rotations)
  }
}
