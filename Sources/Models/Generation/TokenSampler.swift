public import Tensors

/// How the next token is chosen from its scores.
public struct SamplingConfiguration: Equatable, Sendable {
  /// Whether tokens are drawn; otherwise the best one is taken.
  public var samples: Bool
  /// Scores are divided by it before drawing; positive.
  public var temperature: Double
  /// Only so many best tokens can be drawn; 0 for all.
  ///
  /// Ties with the last one stay.
  public var topK: Int
  /// Only the smallest set of best tokens with at least this probability can be drawn.
  public var topP: Double
  /// Start of the random sequence.
  public var seed: UInt64

  /// Greedy choice.
  public static let greedy = SamplingConfiguration(samples: false)

  /// Makes a configuration with the defaults of transformers.
  ///
  /// - Parameters:
  ///   - samples: Whether tokens are drawn.
  ///   - temperature: Divisor of the scores.
  ///   - topK: Size of the set that can be drawn, 0 for all.
  ///   - topP: Probability of the set that can be drawn.
  ///   - seed: Start of the random sequence.
  public init(
    samples: Bool = true, temperature: Double = 1, topK: Int = 50, topP: Double = 1,
    seed: UInt64 = 0
  ) {
    self.samples = samples
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.seed = seed
  }
}

/// Chooses tokens from scores.
public final class TokenSampler {
  private let configuration: SamplingConfiguration
  private let firstRow: Int
  /// One for each row, so that a row's draws do not depend on the batch it is in.
  private var generators: [Generator] = []

  /// Makes a sampler.
  ///
  /// - Parameters:
  ///   - configuration: How to choose.
  ///   - firstRow: Number of the first row among all that share the seed.
  public init(_ configuration: SamplingConfiguration, firstRow: Int = 0) {
    self.configuration = configuration
    self.firstRow = firstRow
  }

  /// The scores that drawing sees less the best one, with excluded tokens at minus infinity.
  ///
  /// Order as in transformers: temperature, top-k, top-p.
  ///
  /// - Parameter scores: float32 `[rows, vocabulary]`.
  /// - Returns: The same shape.
  public func filtered(_ scores: Tensor) -> Tensor {
    // Less the best one, so that no temperature makes infinities of them.
    let best = scores.largest(1).values
    var scores = (scores - best) / configuration.temperature
    if configuration.topK > 0 && configuration.topK < scores.size(-1) {
      let kept = scores.largest(configuration.topK).values
      let threshold = kept.narrowed(1, configuration.topK - 1..<configuration.topK)
      scores = scores.filled(where: scores .< threshold, -.infinity)
    }
    if configuration.topP < 1 {
      let (ordered, places) = scores.sorted()
      let cumulative = ordered.softmax().cumulativeSum()
      let removed = cumulative .<= (1 - configuration.topP)
      removed.narrowed(1, scores.size(-1) - 1..<scores.size(-1)).fillInPlace(0)
      scores = scores.filled(where: removed.scattering(1, places, removed), -.infinity)
    }
    return scores
  }

  /// One token for each row.
  ///
  /// - Parameter scores: float32 `[rows, vocabulary]`.
  /// - Returns: int64 `[rows]`.
  public func next(_ scores: Tensor) -> Tensor {
    guard configuration.samples else { return scores.indexOfMaximum() }
    let probabilities = filtered(scores).softmax()
    let tokens = (0..<scores.size(0)).map { row in
      probabilities.narrowed(0, row..<row + 1).multinomial(1, generator: generator(row))
    }
    return Tensor.concatenated(tokens, dimension: 0).reshaped([-1])
  }

  private func generator(_ row: Int) -> Generator {
    while generators.count <= row {
      // Steps of the golden ratio's bits keep the seeds of neighbouring rows far apart.
      let number = UInt64(firstRow + generators.count)
      generators.append(Generator(seed: configuration.seed &+ number &* 0x9E37_79B9_7F4A_7C15))
    }
    return generators[row]
  }
}
