/// Few rows of float32 numbers on the processor, which several products read.
///
/// What a kind of product makes of them first, such as codes, is made once for all products of that kind.
package final class FewRows {
  /// The numbers, `[count, size]`; they must outlive this.
  package let values: UnsafePointer<Float>
  /// How many rows there are.
  package let count: Int
  /// Numbers of a row.
  package let size: Int
  private var forms: [AnyObject] = []

  /// Rows up to which kernels that read a weight once are the faster ones.
  package static let most = 16

  /// Whether dense layers multiply few rows by such kernels, for what runs inside `withValue`.
  ///
  /// Results then differ in the last digits from those of other programs over LibTorch.
  @TaskLocal package static var arePreferred = false

  /// Describes rows.
  ///
  /// - Parameters:
  ///   - values: The numbers, `[count, size]`.
  ///   - count: How many rows there are.
  ///   - size: Numbers of a row.
  package init(_ values: UnsafePointer<Float>, count: Int, size: Int) {
    self.values = values
    self.count = count
    self.size = size
  }

  /// The rows as a kind of product reads them.
  ///
  /// - Parameters:
  ///   - fits: Whether a form that was made before is the one that is wanted.
  ///   - make: Makes it.
  /// - Returns: The form.
  package func form<Form: AnyObject>(where fits: (Form) -> Bool, make: () -> Form) -> Form {
    for known in forms {
      if let known = known as? Form, fits(known) { return known }
    }
    let made = make()
    forms.append(made)
    return made
  }
}

/// The product of few rows with a matrix, by kernels that read the matrix once.
package protocol FewRowsProduct {
  /// Numbers of a row of the input.
  var inputSize: Int { get }
  /// Numbers of a row of the output.
  var outputSize: Int { get }

  /// Prepares a product.
  ///
  /// - Parameters:
  ///   - rows: The input.
  ///   - result: Where the outputs are to stand, `[rows.count, outputSize]`.
  /// - Returns: What computes some of the outputs of all rows; ranges begin at multiples of 16.
  func job(_ rows: FewRows, into result: UnsafeMutablePointer<Float>) -> (Range<Int>) -> Void
}

/// A linear projection that has such a product.
package protocol FewRowsProjection {
  /// The product with the weight as it is now, and the bias; nil where its type or place does not allow
  /// it.
  var fewRowsProduct: (any FewRowsProduct)? { get }
}
