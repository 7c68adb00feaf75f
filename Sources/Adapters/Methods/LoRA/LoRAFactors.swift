import Layers
import Tensors

/// The tensors of a low-rank update: s (B A - B0 A0), where B0 A0 is what the base is to lack.
struct LoRAFactors {
  let a: Parameter  // [rank, in]
  let b: Parameter  // [out, rank]
  /// Added to B's product before it is scaled, `[out]`.
  var bias: Parameter?
  /// What A and B were at the start, where that is to be taken from the base.
  var start: (a: Parameter, b: Parameter)?
  /// Whether files hold the start, as it cannot be found again.
  var savesStart = false
  /// KaSA's d between B and A, `[rank]`.
  var diagonal: Parameter?
  /// Blocks of the block-diagonal one of A and B.
  var blocks: (count: Int, ofA: Bool)?
  /// Whether B is trained.
  var trainsB = true
  let scale: Double
  let dropout: Double

  init(a: Parameter, b: Parameter, scale: Double, dropout: Double) {
    (self.a, self.b, self.scale, self.dropout) = (a, b, scale, dropout)
  }

  var parameters: [AdapterParameter] {
    var result = [
      AdapterParameter("lora_A.weight", a),
      AdapterParameter("lora_B.weight", b, isTrained: trainsB),
    ]
    if let diagonal { result.append(AdapterParameter("lora_diag", diagonal)) }
    if let bias { result.append(AdapterParameter("lora_B.bias", bias)) }
    if savesStart, let start {
      result.append(AdapterParameter(Self.startNames[0], start.a, isTrained: false))
      result.append(AdapterParameter(Self.startNames[1], start.b, isTrained: false))
    }
    return result
  }

  /// Names of A0 and B0 in files that hold them.
  static let startNames = ["lora_A_start.weight", "lora_B_start.weight"]

  /// Factors of the whole update: [A; A0] and [B, -B0], or A and B.
  func whole() -> (a: Tensor, b: Tensor) {
    let (a, b) = trained()
    guard let start else { return (a, b) }
    return (
      Tensor.concatenated([a, start.a.value]),
      Tensor.concatenated([b, -start.b.value], dimension: 1)
    )
  }

  /// Factors of the trained part, A `[rank, in]` and B `[out, rank]`.
  func trained() -> (a: Tensor, b: Tensor) {
    if let blocks {
      return blocks.ofA
        ? (a.value.blockDiagonal(blocks.count), b.value)
        : (a.value, b.value.blockDiagonal(blocks.count))
    }
    return (diagonal.map { $0.value.unsqueezed(1) * a.value } ?? a.value, b.value)
  }

  /// The whole update as a matrix, `[out, in]`, without gradients.
  func delta() -> Tensor {
    withoutGradients {
      let (a, b) = whole()
      return b.matrixProduct(a) * scale
    }
  }

  /// y plus the update of x, without the bias; `a` stands for A where it is given.
  ///
  /// - Precondition: y is fresh.
  func adding(
    to y: Tensor, _ x: Tensor, _ context: AdapterContext, a changed: Tensor? = nil
  ) -> Tensor {
    let share = context.isTraining ? dropout : 0
    // What the base lacks is no update: it sees all of x, and A0 as it is.
    guard start != nil, share > 0 || changed != nil else {
      let (a, b) = whole()
      return addingLowRankProduct(
        to: y, x, a: changed ?? a, b: b, scale: scale, dropout: share, generator: context.generator)
    }
    let (a, b) = trained()
    return addingLowRankProduct(
      to: lackingStart(in: y, x), x, a: changed ?? a, b: b, scale: scale, dropout: share,
      generator: context.generator)
  }

  /// y without the start's part: what a base that lacks it gives.
  ///
  /// - Precondition: y is fresh.
  func lackingStart(in y: Tensor, _ x: Tensor) -> Tensor {
    guard let start else { return y }
    return addingLowRankProduct(
      to: y, x, a: start.a.value, b: start.b.value, scale: -scale, dropout: 0, generator: nil)
  }
}
