import Layers
import Optimizers
import Tensors
import Testing

@Suite struct GradientClippingTests {
  private func parameters(_ gradients: [[Float]?]) -> [Parameter] {
    gradients.map { gradient in
      let parameter = Parameter(.zeros([gradient?.count ?? 1]))
      parameter.value.gradient = gradient.map { Tensor($0) }
      return parameter
    }
  }

  @Test func `gradients are scaled down together`() {
    let parameters = parameters([[3, 0], nil, [4]])
    #expect(abs(clipGradients(parameters, maximumNorm: 1) - 5) < 1e-6)
    #expect(abs(clipGradients(parameters, maximumNorm: nil) - 1) < 1e-5)
    #expect(parameters[1].value.gradient == nil)
  }

  @Test func `short gradients stay as they are`() {
    let parameters = parameters([[0.3, 0.1], [-0.2]])
    _ = clipGradients(parameters, maximumNorm: 1)
    #expect(parameters[0].value.gradient?.array(of: Float.self) == [0.3, 0.1])
    #expect(parameters[1].value.gradient?.array(of: Float.self) == [-0.2])
  }

  @Test func `a norm that is not finite is reported and scales nothing`() {
    let infinite = parameters([[.infinity, 1], [2]])
    #expect(clipGradients(infinite, maximumNorm: 1) == .infinity)
    #expect(infinite[1].value.gradient?.array(of: Float.self) == [2])
    #expect(clipGradients(parameters([[.nan], [2]]), maximumNorm: 1).isNaN)
    #expect(clipGradients([], maximumNorm: 1) == 0)
  }

  @Test func `half precision is measured in float32`() {
    let parameters = parameters([[3], [4]])
    let half = parameters.map { parameter in
      let converted = Parameter(parameter.value.to(.bfloat16))
      converted.value.gradient = parameter.value.gradient?.to(.bfloat16)
      return converted
    }
    #expect(abs(clipGradients(half, maximumNorm: 2.5) - 5) < 1e-6)
    #expect(half.map { $0.value.gradient?.dtype } == [.bfloat16, .bfloat16])
    #expect(half.map { $0.value.gradient?.item() } == [1.5, 2])
  }
}
