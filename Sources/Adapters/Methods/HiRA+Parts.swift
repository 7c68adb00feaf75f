import Layers
import Tensors

extension HiraConfig: ConvolutionMethod, KernelMethod {
  static var kernelDimensions: ClosedRange<Int> { 1...3 }

  func adapter(for site: ConvolutionSite) throws(AdapterError) -> any ConvolutionAdapter {
    let kernel = KernelShape(site.base)
    let rank = try rankPattern.value(for: site.path, default: rank)
    let right = [rank, kernel.channels] + kernel.sizes
    let left = [site.base.weight.size(0), rank] + kernel.sizes.map { _ in 1 }
    let isRandom = initialization == .random
    return ConvolutionHira(
      a: isRandom ? site.normal(right) : site.linearUniform(right),
      b: isRandom ? site.normal(left) : site.zeros(left), dropout: dropout, base: site.base)
  }
}

extension HiraConfig: EmbeddingMethod {
  func adapter(for site: EmbeddingSite) throws(AdapterError) -> any EmbeddingAdapter {
    let rank = try rankPattern.value(for: site.path, default: rank)
    let right = [rank, site.base.count]
    return EmbeddingHira(
      a: initialization == .random ? site.normal(right) : site.zeros(right),
      b: site.normal([site.base.size, rank]), base: site.base)
  }
}

/// W ∘ (B A) beside the kernels W of a convolution.
final class ConvolutionHira: ConvolutionAdapter {
  private let a: Parameter  // [rank, in, kernel...]
  private let b: Parameter  // [out, rank, 1...]
  private let dropout: Double
  private let base: any ConvolutionKernels

  init(a: Parameter, b: Parameter, dropout: Double, base: any ConvolutionKernels) {
    (self.a, self.b, self.dropout, self.base) = (a, b, dropout, base)
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("hira_A", a, freeDimension: 0),
      AdapterParameter("hira_B", b, freeDimension: 1),
    ]
  }

  func didLoad() throws(AdapterError) { try requireEqualRanks(a, b) }

  private func delta() -> Tensor {
    let rank = a.value.size(0)
    let product = b.value.reshaped([-1, rank]).matrixProduct(a.value.reshaped([rank, -1]))
    return base.weight.detached().to(product.dtype) * product.reshaped(base.weight.shape)
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any ConvolutionKernels, _ context: AdapterContext
  ) -> Tensor {
    let (delta, steps) = (delta(), base.steps)
    return y.adding(
      wide: context.dropped(x, dropout).to(delta.dtype).convolved(
        delta, stride: steps.stride, padding: steps.padding, dilation: steps.dilation))
  }

  func merge(into layer: inout MergedLayer) {
    layer.weight.addInPlace(delta().detached().to(layer.weight.dtype))
  }
}

/// W ∘ (B A)^T beside a table W.
final class EmbeddingHira: EmbeddingAdapter {
  private let a: Parameter  // [rank, count]
  private let b: Parameter  // [size, rank]
  private let base: any EmbeddingTable

  init(a: Parameter, b: Parameter, base: any EmbeddingTable) {
    (self.a, self.b, self.base) = (a, b, base)
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("hira_embedding_A", a, freeDimension: 0),
      AdapterParameter("hira_embedding_B", b, freeDimension: 1),
    ]
  }

  func didLoad() throws(AdapterError) {
    try requireEqualRanks(a, b, prefix: "hira_embedding")
  }

  func output(_ y: Tensor, ids: Tensor, _ context: AdapterContext) -> Tensor {
    let narrow = a.value.selecting(1, ids.reshaped([-1])).transposed()  // [N, rank]
    let factors = narrow.linear(b.value).reshaped(ids.shape + [b.value.size(0)])
    return y.adding(wide: base(ids).detached().to(factors.dtype) * factors)
  }

  func merge(into table: inout Tensor) {
    withoutGradients {
      let factors = a.value.transposed().matrixProduct(b.value.transposed())
      table.addInPlace((base.denseWeight().to(factors.dtype) * factors).to(table.dtype))
    }
  }
}

/// Refuses factors A and B of a file, called so behind a prefix, that do not go together.
func requireEqualRanks(
  _ a: Parameter, _ b: Parameter, prefix: String = "hira"
) throws(AdapterError) {
  let (rows, columns) = (a.value.size(0), b.value.size(1))
  guard rows != columns else { return }
  throw .configuration(
    field: prefix + "_B", expected: "the rank of \(prefix)_A, \(rows)",
    actual: "rank \(columns)")
}
