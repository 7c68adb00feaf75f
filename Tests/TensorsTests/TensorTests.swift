import Tensors
import TestSupport
import Testing

@Suite struct TensorTests {
  @Test func `elements go in and come out in row-major order`() {
    let tensor = Tensor([1, 2, 3, 4, 5, 6] as [Float], shape: [2, 3])
    #expect(tensor.shape == [2, 3])
    #expect(tensor.strides == [3, 1])
    #expect(tensor.transposed().array(of: Float.self) == [1, 4, 2, 5, 3, 6])
  }

  @Test func `a tensor over foreign memory aliases it and releases its owner`() {
    final class Owner {
      let memory = UnsafeMutablePointer<Float>.allocate(capacity: 4)
      deinit { memory.deallocate() }
    }
    weak var watched: Owner?
    do {
      var owner: Owner? = Owner()
      watched = owner
      owner?.memory.initialize(repeating: 2, count: 4)
      guard let memory = owner?.memory else { return }
      let view = Tensor.aliasing(memory, shape: [2, 2], dtype: .float32, owner: owner ?? Owner())
        .selected(0, 1)
      owner = nil
      #expect(watched != nil)
      #expect(view.array(of: Float.self) == [2, 2])
    }
    #expect(watched == nil)
  }

  @Test func `log Gamma and its derivative`() {
    // Gamma(5) = 24; the derivative at 1 is minus Euler's constant.
    let x = Tensor([5, 1, 0.5] as [Double])
    expectClose(x.logGamma(), Tensor([3.1780538303, 0, 0.5723649429] as [Double]))
    expectClose(x.digamma(), Tensor([1.5061176684, -0.5772156649, -1.9635100260] as [Double]))
    expectGradientsMatchFiniteDifferences(of: [x]) { $0[0].logGamma() + $0[0].digamma() }
  }

  @Test(arguments: DType.allCases)
  func `every element type can be made and measured`(dtype: DType) {
    let tensor = Tensor.empty([3, 2], dtype: dtype)
    #expect(tensor.dtype == dtype)
    #expect(tensor.byteCount == 6 * dtype.byteCount)
  }

  @Test func `a meta tensor has a shape and no numbers`() {
    let left = Tensor.zeros([4, 5], device: .meta)
    let product = left.matrixProduct(Tensor.zeros([5, 2], device: .meta))
    #expect(product.shape == [4, 2])
    #expect(product.device == .meta)
  }

  @Test func `a wrong shape traps and names the operator and both shapes`() async {
    let result = await #expect(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) {
      _ = Tensor.zeros([2, 3]).matrixProduct(Tensor.zeros([2, 3]))
    }
    let message = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(message.contains("aten::matmul(float32[2, 3], float32[2, 3])"))
  }

  @Test func `generators restart from a seed and from a saved state`() {
    let generator = Generator(seed: 5)
    let first = Tensor.randomNormal([7], generator: generator)
    let state = generator.state
    let second = Tensor.randomNormal([7], generator: generator)
    generator.state = state
    #expect(Tensor.randomNormal([7], generator: generator).isEqual(to: second))
    generator.seed(5)
    #expect(Tensor.randomNormal([7], generator: generator).isEqual(to: first))
    #expect(!first.isEqual(to: second))
  }

  @Test func `draws equal those of torch.Generator with the same seed`() {
    // torch.rand(4, generator=torch.Generator().manual_seed(0)), torch 2.13.0.
    let drawn = Tensor.randomUniform([4], generator: Generator(seed: 0))
    expectClose(
      drawn, Tensor([0.4962565899, 0.7682217956, 0.0884774327, 0.1320304871] as [Double]),
      absolute: 1e-9)
  }
}
