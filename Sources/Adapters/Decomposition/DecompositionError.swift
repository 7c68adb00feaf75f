/// Why a matrix cannot be decomposed, or adapters cannot be made of what was found.
public enum DecompositionError: Error, Equatable, Sendable {
  /// A tensor holds NaN or infinities, or numbers whose squares overflow.
  case notFinite(what: String)
  /// The tensor is not a matrix with at least one row and one column.
  case notAMatrix(what: String, shape: [Int])
  /// Eigenvectors were asked for, but rows and columns differ in number.
  case notSquare(what: String, shape: [Int])
  /// The matrix is said to be symmetric and is not; the worst difference across the diagonal.
  case notSymmetric(what: String, difference: Double)
  /// The eigenvectors do not span the space; the relative error of rebuilding the matrix.
  case notDiagonalizable(what: String, error: Double)
  /// A number is outside its range.
  case outOfRange(field: String, expected: String, actual: String)
  /// Two models or adapters do not belong together.
  case mismatch(what: String, expected: String, actual: String)
  /// Something that is in the input has no place in the result.
  case impossible(what: String, reason: String)
}

extension DecompositionError: CustomStringConvertible {
  /// What is wrong, where, and why.
  public var description: String {
    switch self {
    case .notFinite(let what): "\(what) has NaN or infinite elements, or some too large to square"
    case .notAMatrix(let what, let shape): "\(what) has shape \(shape), expected a matrix"
    case .notSquare(let what, let shape):
      """
      \(what) has shape \(shape): a rectangular matrix has no eigenvectors, as it maps one space \
      into another, so that no vector is a multiple of its image; use its singular values
      """
    case .notSymmetric(let what, let difference):
      "\(what) is not symmetric: elements across its diagonal differ by up to \(difference)"
    case .notDiagonalizable(let what, let error):
      """
      \(what) cannot be rebuilt from its eigenvectors (relative error \(error)): they are dependent \
      or nearly so; use its singular values
      """
    case .outOfRange(let field, let expected, let actual):
      "\(field) is \(actual), expected \(expected)"
    case .mismatch(let what, let expected, let actual):
      "\(what): expected \(expected), found \(actual)"
    case .impossible(let what, let reason): "\(what): \(reason)"
    }
  }
}
