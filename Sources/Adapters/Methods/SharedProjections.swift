import Layers
import Tensors

/// A frozen pair of random matrices that all layers of an adapter share, each using the part that fits.
final class SharedProjections {
  let a: Parameter
  let b: Parameter

  /// - Parameters:
  ///   - site: A layer, for type and device.
  ///   - isStored: Whether files hold the matrices, so that they need not be drawn for one.
  ///   - a: Shape of the first.
  ///   - b: Shape of the second.
  ///   - draw: Draws both.
  init(for site: LayerSite, isStored: Bool, a: [Int], b: [Int], draw: () -> (Tensor, Tensor)) {
    guard !(site.isLoading && isStored) else {
      (self.a, self.b) = (site.zeros(a), site.zeros(b))
      return
    }
    let (first, second) = draw()
    self.a = Parameter(first.to(site.dtype).to(device: site.device))
    self.b = Parameter(second.to(site.dtype).to(device: site.device))
  }

  /// A `[rows, widest input]` and B `[widest output, rank]`, drawn as torch's `kaiming_uniform_` does.
  ///
  /// - Parameters:
  ///   - sites: The layers, of which there is one at least.
  ///   - rows: Rows of A.
  ///   - rank: Columns of B.
  ///   - seed: Seed of both.
  ///   - isStored: Whether files hold them.
  convenience init(
    uniformFor sites: [LayerSite], rows: Int, rank: Int, seed: Int, isStored: Bool
  ) {
    let (a, b) = ([rows, sites.largestInput], [sites.largestOutput, rank])
    self.init(for: sites[0], isStored: isStored, a: a, b: b) {
      let generator = RedrawnNumbers.generator(seed: seed)
      let first = RedrawnNumbers.kaimingUniform(a, generator: generator)
      return (first, RedrawnNumbers.kaimingUniform(b, generator: generator))
    }
  }

  /// The columns of A and rows of B that fit a layer.
  func fitting(inputs: Int, outputs: Int) -> (a: Tensor, b: Tensor) {
    (a.value.narrowed(1, 0..<inputs), b.value.narrowed(0, 0..<outputs))
  }

  /// What files hold of them: never trained.
  func parameters(_ aName: String, _ bName: String) -> [AdapterParameter] {
    [AdapterParameter(aName, a, isTrained: false), AdapterParameter(bName, b, isTrained: false)]
  }
}

/// Random numbers that PEFT draws anew when a file does not hold them: on the processor, by the same
/// generator, in the same order.
enum RedrawnNumbers {
  /// LibTorch's generator with a seed of a configuration; negative ones count from the end, as in torch.
  static func generator(seed: Int) -> Generator {
    Generator(seed: UInt64(bitPattern: Int64(seed)))
  }

  /// As torch's `kaiming_uniform_`: uniform in ± sqrt(3) gain / sqrt(fan) with the gain of a leaky ReLU.
  static func kaimingUniform(
    _ shape: [Int], slope: Double = 0, dtype: DType = .float32, generator: Generator
  ) -> Tensor {
    // In torch's order of operations, so that the bound is the same to the last bit.
    let gain = (2 / (1 + slope * slope)).squareRoot()
    let deviation = gain / Double(max(shape.dropFirst().reduce(1, *), 1)).squareRoot()
    let bound = 3.0.squareRoot() * deviation
    let values = Tensor.empty(shape, dtype: dtype)
    values.fillUniformInPlace(-bound, bound, generator: generator)
    return values
  }

  static func normal(_ shape: [Int], deviation: Double, generator: Generator) -> Tensor {
    let values = Tensor.empty(shape)
    values.fillNormalInPlace(deviation: deviation, generator: generator)
    return values
  }
}

extension [LayerSite] {
  /// Size of the widest input.
  var largestInput: Int { map(\.inputSize).max() ?? 0 }
  /// Size of the widest output.
  var largestOutput: Int { map(\.outputSize).max() ?? 0 }
}
