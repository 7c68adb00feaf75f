import Layers
import Quantization
import Tensors
import TestSupport
import Testing

@Suite struct QuantizedLinearTests {
  private let weight = Tensor.randomNormal([24, 40], generator: Generator(seed: 1)) * 0.1
  private let x = Tensor.randomNormal([3, 7, 40], generator: Generator(seed: 2)) * 2.0
  private let bias = Tensor.randomNormal([24], generator: Generator(seed: 3))
  static let formats: [WeightFormat] = [
    .int8(threshold: 6), .int8(threshold: 0),
    .fourBit(.nf4, blockSize: 64, doubleQuantization: false),
    .fourBit(.nf4, blockSize: 32, doubleQuantization: true),
    .fourBit(.fp4, blockSize: 64, doubleQuantization: false),
  ]

  private func relativeError(_ found: Tensor, _ expected: Tensor) -> Double {
    ((found - expected).norm() / expected.norm()).item()
  }

  /// Bytes by the formula are those that a layer keeps, also where blocks are not full.
  @Test(arguments: [(24, 16), (7, 33), (300, 70)])
  func bytesByShape(_ shape: (outputs: Int, inputs: Int)) {
    let weight = Tensor.randomNormal([shape.outputs, shape.inputs], generator: Generator(seed: 1))
    let formats: [WeightFormat] = [
      .int8(threshold: 6), .fourBit(.nf4, blockSize: 64, doubleQuantization: false),
      .fourBit(.fp4, blockSize: 32, doubleQuantization: true),
    ]
    for format in formats {
      let kept = format.projection(weight).heldTensors.reduce(0) { $0 + $1.byteCount }
      // The offset of scales in codes is no tensor.
      let offset = format == formats[2] ? 4 : 0
      #expect(
        format.byteCount(outputs: shape.outputs, inputs: shape.inputs) == kept + offset,
        "\(format)")
    }
  }

  @Test(arguments: formats) func approximatesTheDenseLayer(_ format: WeightFormat) {
    let layer = format.projection(weight, bias: Parameter(bias))
    let limit = format.name == "int8" ? 0.02 : format.name == "nf4" ? 0.12 : 0.18
    #expect(relativeError(layer(x), x.linear(weight, bias: bias)) < limit)
    #expect(relativeError(layer.denseWeight(), weight) < limit)
    #expect(layer.denseWeight().dtype == .float32)
    #expect(layer.storedCount == 24 * 40)
  }

  /// The gradient of x is that of the dequantised layer; the forward pass has the same numbers with
  /// and without gradients.
  @Test(arguments: formats) func gradients(_ format: WeightFormat) throws {
    let bias = Parameter(self.bias)
    let layer = format.projection(weight, bias: bias)
    let still = withoutGradients { layer(x) }
    bias.isTrainable = true
    let input = x.cloned()
    input.requiresGradient = true
    let slope = Tensor.randomNormal([3, 7, 24], generator: Generator(seed: 4))
    let y = layer(input)
    #expect(y.isEqual(to: still))
    (y * slope).sum().backward()
    let expected = slope.linear(layer.denseWeight().transposed())
    expectClose(try #require(input.gradient), expected)
    expectClose(try #require(bias.value.gradient), slope.reshaped([-1, 24]).sum([0]))
  }

  @Test(arguments: formats) func typesOfInputs(_ format: WeightFormat) {
    let layer = format.projection(weight)
    for dtype in [DType.bfloat16, .float16, .float64] {
      let input = x.to(dtype)
      input.requiresGradient = true
      let y = layer(input)
      #expect(y.dtype == dtype && y.shape == [3, 7, 24])
      y.sum().backward()
      #expect(input.gradient?.dtype == dtype && input.gradient?.isAllFinite == true)
      #expect(relativeError(y.to(.float32), layer(x)) < (dtype == .bfloat16 ? 0.02 : 0.005))
    }
  }

  /// A weight without columns: the bias is left.
  @Test(arguments: formats) func noColumns(_ format: WeightFormat) {
    let layer = format.projection(Tensor.empty([24, 0]), bias: Parameter(bias))
    #expect(layer(Tensor.empty([2, 0])).isEqual(to: bias.expanded([2, 24])))
    #expect(layer.denseWeight().shape == [24, 0])
  }

  /// SwitchBack: the gradient in whole numbers, its error measured.
  @Test func int8Gradients() throws {
    let layer = Linear8bit(quantizing: weight)
    let slope = Tensor.randomNormal([50, 24], generator: Generator(seed: 5))
    func gradient(_ kind: InputGradient) throws -> Tensor {
      layer.inputGradient = kind
      let input = x.reshaped([-1, 40]).narrowed(0, 0..<21).cloned()
      input.requiresGradient = true
      (layer(input) * slope.narrowed(0, 0..<21)).sum().backward()
      return try #require(input.gradient)
    }
    let exact = try gradient(.dequantized)
    // One rounding of 127 levels to a side for each row: under 1 % here.
    #expect(relativeError(try gradient(.int8), exact) < 0.01)
    let generator = Generator(seed: 6)
    let one = try gradient(.int8Stochastic(generator))
    let other = try gradient(.int8Stochastic(generator))
    #expect(!one.isEqual(to: other))
    #expect(relativeError(one, exact) < 0.02)
    // Random rounding has no bias: the mean of many draws comes close to the exact gradient.
    let mean = exact.zerosLike()
    for _ in 0..<200 { mean.addInPlace(try gradient(.int8Stochastic(generator)), scale: 1 / 200.0) }
    #expect(relativeError(mean, exact) < 0.002)
  }

  @Test func stochasticRoundingIsBounded() {
    let x = Tensor.randomNormal([9, 300], generator: Generator(seed: 7))
    let (one, other) = (
      RowCodes(roundingStochastically: x, seed: 1), RowCodes(roundingStochastically: x, seed: 1)
    )
    #expect(one.codes.isEqual(to: other.codes))
    let steps = (one.dequantized() - x).absolute() / (one.scales.unsqueezed(1) * (1 / 127.0))
    #expect(steps.max().item() < 1.001)
  }

  /// One byte and half a byte for each number, and the scales.
  @Test func storedBytes() {
    let large = Tensor.randomNormal([256, 1024], generator: Generator(seed: 9))
    func bytes(_ format: WeightFormat) -> Double {
      let tensors = format.projection(large).storedTensors.filter { !$0.name.contains("quant_") }
      return Double(tensors.reduce(0) { $0 + $1.tensor.byteCount }) / Double(large.count)
    }
    #expect(bytes(.int8(threshold: 6)) < 1.005)
    #expect(bytes(.fourBit(.nf4, blockSize: 64, doubleQuantization: false)) == 0.5625)
    // 8 bits for each block, and a float32 and a table for 256 of them.
    #expect(bytes(.fourBit(.nf4, blockSize: 64, doubleQuantization: true)) < 0.5205)
  }

  @Test func replacingKeepsTheFormat() {
    for format in Self.formats {
      let layer = format.projection(weight, bias: Parameter(bias))
      let other = layer.replacing(weight: weight * 2.0)
      #expect(other.storedTensors.map(\.name) == layer.storedTensors.map(\.name))
      expectClose(other.denseWeight(), layer.denseWeight() * 2.0, relative: 1e-3)
      #expect(other.bias === layer.bias)
    }
  }

  /// Codes on a device without memory of the processor: nothing touches it.
  @Test(arguments: formats) func otherDevices(_ format: WeightFormat) throws {
    let layer = format.projection(weight, bias: Parameter(bias))
    let moved: any LinearProjection
    let decoded: Tensor
    let metaBias = Parameter(bias.to(device: .meta))
    if let eight = layer as? Linear8bit {
      let codes = RowCodes(
        codes: eight.weight.codes.to(device: .meta), scales: eight.weight.scales.to(device: .meta),
        dtype: .float32)
      moved = Linear8bit(weight: codes, bias: metaBias)
      decoded = eight.weight.decodedByOperators(.float32)
    } else {
      let codes = try #require(layer as? Linear4bit).weight
      let meta = FourBitCodes(
        bytes: codes.bytes.to(device: .meta), scales: codes.scales.moved(to: .meta),
        blockSize: codes.blockSize, type: codes.type, shape: codes.shape, dtype: codes.dtype)
      moved = Linear4bit(weight: meta, bias: metaBias)
      decoded = codes.decodedByOperators(.float32)
    }
    expectClose(decoded, layer.denseWeight(), absolute: 0, relative: 1e-6)
    let input = x.to(device: .meta)
    input.requiresGradient = true
    let y = moved(input)
    #expect(y.device == .meta && y.shape == [3, 7, 24])
    y.sum().backward()
    #expect(input.gradient?.shape == x.shape)
  }

  /// Other types of weights are quantised as float32.
  @Test(arguments: formats) func wideWeights(_ format: WeightFormat) {
    for dtype in [DType.float64, .float8e4m3] {
      let layer = format.projection(weight.to(dtype))
      #expect(layer.dtype == .float32 && layer.denseWeight().dtype == .float32)
      #expect(relativeError(layer.denseWeight(), weight) < 0.2)
      #expect(layer.replacing(weight: weight.to(dtype)).dtype == .float32)
    }
  }

  /// Weights that float16 cannot hold are quantised as they are.
  @Test func largeWeights() {
    let layer = Linear8bit(quantizing: weight * 1e6)
    #expect(relativeError(layer.denseWeight(), weight * 1e6) < 0.02)
  }
}

@Suite struct QuantizedEmbeddingTests {
  @Test(arguments: [64, 65]) func rowsAreThoseOfTheTable(size: Int) {
    let table = Tensor.randomNormal([50, size], generator: Generator(seed: 1))
    let ids = Tensor([3, 49, 0, 3] as [Int64], shape: [2, 2])
    let kinds: [any EmbeddingTable] = [
      Table8bit(quantizing: table), Table4bit(quantizing: table, type: .nf4),
      Table4bit(quantizing: table, type: .fp4, doubleQuantization: true),
    ]
    for kind in kinds {
      #expect(kind.count == 50 && kind.size == size)
      #expect(kind.dtype == kind(ids).dtype)
      #expect(kind(ids).isEqual(to: kind.denseWeight().embedding(ids)))
      // Signs survive in every format.
      let signs = table.sign()
      let lossless: any EmbeddingTable =
        kind is Table8bit ? Table8bit(quantizing: signs) : Table4bit(quantizing: signs)
      expectClose(lossless(ids), signs.embedding(ids), absolute: 1e-6)
    }
    let error = (Table8bit(quantizing: table)(ids) - table.embedding(ids)).absolute().max().item()
    #expect(error < 0.02)
  }
}
