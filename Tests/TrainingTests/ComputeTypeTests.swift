import Layers
import Models
import Quantization
import Tensors
import TestSupport
import Testing
import Training

/// What a type of products means for a model, by how its base is kept and how gradients pass it.
@Suite struct ComputeTypeTests {
  private func products(
    _ type: DType, _ format: WeightFormat?, roundsGradients: Bool = true
  ) throws -> (loss: LossProducts, attention: DType) {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory)
      let model = try AutoModelForCausalLM.fromPretrained(
        directory, quantization: format.map { QuantizationOptions($0) })
      model.setInputGradients(roundsGradients ? .int8 : .dequantized)
      model.setComputeType(type)
      return (model.lossProducts, model.model.attentionProductType)
    }
  }

  @Test func plainBase() throws {
    #expect(try products(.float32, nil) == (.float32, .float32))
    #expect(try products(.bfloat16, nil) == (.roundedRest, .float32))
  }

  @Test(arguments: [DType.bfloat16, .int8]) func baseInWholeNumbers(_ type: DType) throws {
    let format = WeightFormat.int8(threshold: 6)
    #expect(try products(type, format) == (.wholeNumbers, .bfloat16))
    #expect(try products(type, format, roundsGradients: false) == (.bfloat16, .bfloat16))
    #expect(try products(.float32, format) == (.float32, .float32))
  }

  @Test func baseOf4Bits() throws {
    let format = WeightFormat.fourBit(.nf4, blockSize: 64, doubleQuantization: false)
    #expect(try products(.bfloat16, format) == (.wholeNumberRest, .bfloat16))
    #expect(try products(.int8, format) == (.wholeNumbers, .bfloat16))
    #expect(try products(.bfloat16, format, roundsGradients: false) == (.bfloat16, .bfloat16))
    #expect(try products(.float32, format) == (.float32, .float32))
  }
}
