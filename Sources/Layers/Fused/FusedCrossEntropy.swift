import CKernels
import Tensors

/// The summed cross entropy of rows and the gradient of x, of tensors in float32 on the processor.
///
/// Words are taken in parts: of each part the scores exist once, as e^(z - top) with the row's largest
/// score so far, and what was summed with a smaller one is scaled. The scores' gradient is never written
/// down: with p = softmax(z) the gradient of x is p W - W[label], and p's common factor is applied to
/// that product.
///
/// ## Shapes
/// - x: `[rows, size]`, weight: `[vocabulary, size]`, labels: int64 `[rows]`.
///
/// - Parameters:
///   - x: Input of the head.
///   - weight: The head.
///   - labels: Right answers.
///   - needsGradient: Whether the gradient is wanted.
///   - products: What numbers both products are computed with; everything between is float32.
///   - kept: Words in codes of earlier losses over the same head.
///   - words: Words of a part.
/// - Returns: A scalar, and the gradient of x.
/// - Note: Source: arXiv 2411.09009 (Cut Cross-Entropy), with the running normaliser of arXiv 1805.02867.
func fusedCrossEntropy(
  _ x: Tensor, _ weight: Tensor, _ labels: Tensor, needsGradient: Bool,
  products: LossProducts = .float32, kept: KeptWordCodes? = nil, words: Int = 1920
) -> (loss: Tensor, gradient: Tensor?) {
  let (count, size) = (x.size(0), weight.size(0))
  let answers = labels.to(.int64).contiguous()
  let top = Tensor.full([count], -Double.infinity, dtype: .float32)
  let sum = Tensor.zeros([count], dtype: .float64)
  let own = Tensor.zeros([count], dtype: .float32)
  let factor = Tensor.empty([count], dtype: .float32)
  var gradient: Tensor?
  let products = products.supported
  let rounded = products.roundsScores ? BFloat16Rows(rounding: x) : nil
  let coded = products == .wholeNumbers ? CodedInput(x) : nil
  for start in stride(from: 0, to: size, by: words) {
    let part = weight.narrowed(0, start..<min(start + words, size)).contiguous()
    let codes =
      coded != nil || needsGradient && products.codesWords
      ? kept?.words(from: start, of: part) ?? WordCodes(part) : nil
    let scores =
      codes.flatMap { coded?.multiplied(by: $0, part) } ?? rounded?.multiplied(byRowsOf: part)
      ?? x.linear(part).contiguous()  // [N, P]
    // A mapped head is as large as many layers and is read part by part.
    defer { part.releaseFileBackedMemory() }
    let shares = needsGradient ? PartShares(products, over: scores, words: codes) : nil
    let (width, isShort) = (Int64(part.size(0)), products == .bfloat16)
    forEachBlockRange(
      count, blockSize: part.size(0),
      [scores, answers, top, sum, own, factor] + (shares?.tensors ?? []), name: "cross_entropy"
    ) { memory, first, end in
      // A row at a time, which then is in the nearest cache when its shares are split.
      for row in first..<end {
        graft_cross_entropy_block(
          memory.elements(0, Float.self), memory.elements(1, Int64.self), Int64(start), width,
          needsGradient && !isShort ? memory.elements(0, Float.self) : nil,
          needsGradient && isShort ? memory.elements(6, UInt16.self) : nil,
          row, row + 1, memory.elements(2, Float.self), memory.elements(3, Double.self),
          memory.elements(4, Float.self), memory.elements(5, Float.self))
        guard needsGradient else { continue }
        PartShares.split(products, memory, sums: 3, first: 6, width: width, row: row)
      }
    }
    gradient =
      shares?.multiplied(byColumnsOf: part, onto: gradient.map { ($0, rowScale: factor) })
  }
  // Rows of the answers are read once more, behind the parts.
  defer { weight.releaseFileBackedMemory() }
  let losses = Tensor.empty([count], dtype: .float32)
  forEachBlockRange(
    count, blockSize: 64, [top, sum, own, losses, factor], name: "cross_entropy_end"
  ) {
    graft_cross_entropy_end(
      $0.elements(0, Float.self), $0.elements(1, Double.self), $0.elements(2, Float.self), $1, $2,
      $0.elements(3, Float.self), $0.elements(4, Float.self))
  }
  return (
    losses.sum(),
    gradient?.multiplyInPlace(factor.unsqueezed(1))
      .addInPlace(weight.selecting(0, answers), scale: -1)
  )
}
