import Tensors

/// Numbers at some places of a matrix that is zero elsewhere, which add up where a place is repeated.
///
/// - Parameters:
///   - values: `[count]`.
///   - places: int64 `[count]`, row by row through the matrix.
///   - shape: Rows and columns.
/// - Returns: The matrix, differentiable in the values.
func sparseMatrix(_ values: Tensor, at places: Tensor, shape: [Int]) -> Tensor {
  Tensor.zeros([shape.reduce(1, *)], dtype: values.dtype, device: values.device)
    .addInPlace(0, at: places, values).reshaped(shape)
}

extension LayerSite {
  /// The first of all places of the weight in a random order that a seed fixes, as in PEFT.
  ///
  /// - Parameters:
  ///   - count: How many.
  ///   - seed: Seed of LibTorch's generator.
  /// - Returns: int64 `[count]`, row by row through the weight, on the processor.
  func randomPlaces(_ count: Int, seed: UInt64) -> Tensor {
    Tensor.randomPermutation(inputSize * outputSize, generator: Generator(seed: seed))
      .narrowed(0, 0..<count).cloned()
  }
}
