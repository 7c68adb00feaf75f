import Layers
package import Tensors

/// The random numbers of one layer in one step of MonteCLoRA.
package struct MonteCLoRASamples {
  /// Standard normal, `[samples, rank, inputSize]`.
  let normals: Tensor
  /// c, the diagonal of a Wishart matrix of as many degrees of freedom as rows, `[rank]`.
  let squares: Tensor
  /// Standard normal, `[samples]`.
  let logits: Tensor

  /// Takes numbers that were drawn elsewhere.
  ///
  /// - Parameters:
  ///   - normals: `[samples, rank, inputSize]`.
  ///   - squares: `[rank]`.
  ///   - logits: `[samples]`.
  package init(normals: Tensor, squares: Tensor, logits: Tensor) {
    (self.normals, self.squares, self.logits) = (normals, squares, logits)
  }
}

/// The distribution of what MonteCLoRA adds to A of one layer in training.
///
/// Names are those of files: d, e, and what v and w were in the last step, which PEFT stores too.
final class MonteCLoRADistribution {
  /// The tensors behind a layer's path in files.
  static let names = ["std_prior", "expert_weights_prior", "gaussian_var_prior", "expert_weights"]
    .map { "lora_monteclora_sampler." + $0 }

  private let settings: MonteCLoRAConfig
  private let rank: Int
  /// d: logarithms of standard deviations, `[rank]`.
  private let deviations: Parameter
  /// e: logarithms of concentrations, `[samples]`.
  private let concentrations: Parameter
  /// diag(v) of the last step, `[rank, rank]`.
  private let storedVariances: Parameter
  /// w of the last step, `[samples]`.
  private let storedWeights: Parameter
  /// What the last step drew, but for the normals.
  private var last: (squares: Tensor, logits: Tensor)?
  /// Numbers to take instead of drawn ones.
  var given: MonteCLoRASamples?

  init(_ settings: MonteCLoRAConfig, rank: Int, _ site: LayerSite) {
    (self.settings, self.rank) = (settings, rank)
    let count = settings.sampleCount
    deviations = site.uniform([rank], bound: 0.5)
    concentrations = site.uniform([count], bound: 0.5)
    storedWeights = site.constant([count], 1 / Double(count))
    guard !site.isLoading else {
      storedVariances = site.zeros([rank, rank])
      return
    }
    storedVariances = site.parameter(.identity(rank))
    // From 0 to 1.
    withoutGradients { for own in [deviations, concentrations] { own.value.addInPlace(0.5) } }
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter(Self.names[0], deviations),
      AdapterParameter(Self.names[1], concentrations),
      AdapterParameter(Self.names[2], storedVariances, isTrained: false),
      AdapterParameter(Self.names[3], storedWeights, isTrained: false),
    ]
  }

  private var wide: DType { .computing(deviations.value.dtype) }

  /// s sum of w_k Z_k, differentiable in d and e.
  ///
  /// - Parameters:
  ///   - inputSize: Columns of A.
  ///   - generator: Where numbers come from.
  /// - Returns: `[rank, inputSize]`, float32 or wider.
  func noise(inputSize: Int, _ generator: Generator) -> Tensor {
    let samples = given ?? drawn(inputSize, generator)
    last = (samples.squares, samples.logits)
    let (v, w) = (variances(samples.squares), weights(samples.logits))
    withoutGradients {
      let dtype = deviations.value.dtype
      storedVariances.value = (Tensor.identity(rank, dtype: wide, device: v.device) * v.detached())
        .to(dtype)
      storedWeights.value = w.detached().to(dtype)
    }
    let count = samples.normals.size(0)
    let mixed = w.unsqueezed(0).matrixProduct(samples.normals.reshaped([count, -1]))
      .reshaped([rank, inputSize])
    return mixed * (v.squareRoot() * settings.sampleScale).unsqueezed(1)
  }

  private func drawn(_ inputSize: Int, _ generator: Generator) -> MonteCLoRASamples {
    let (count, device) = (settings.sampleCount, deviations.value.device)
    func normal(_ shape: [Int]) -> Tensor {
      .randomNormal(shape, dtype: wide, device: device, generator: generator)
    }
    return withoutGradients {
      // Diagonal elements of a Wishart matrix around the identity are sums of squares.
      let normals = normal([rank, rank])
      return MonteCLoRASamples(
        normals: normal([count, rank, inputSize]), squares: (normals * normals).sum([1]),
        logits: normal([count]))
    }
  }

  /// v, `[rank]`.
  private func variances(_ squares: Tensor) -> Tensor {
    ((deviations.value.to(wide) * 2).exponential() * squares).clamped(lower: 1e-3)
  }

  /// w, `[samples]`.
  private func weights(_ logits: Tensor) -> Tensor {
    let alpha = concentrations.value.to(wide).exponential().clamped(lower: 1e-6)
    let (inverse, n) = (alpha.reciprocal(), Double(settings.sampleCount))
    let shared = inverse.sum() / (n * n)
    let variance = (inverse * (1 - 2 / n) + shared).clamped(lower: 1e-6) + 1e-6
    let log = alpha.logarithm()
    let mean = log - log.mean()
    return (variance.squareRoot() * logits + mean).softmax()
  }

  /// What the layer adds to the loss, with v and w as the last step drew them.
  ///
  /// They are computed again from what was drawn, so that gradients reach d and e however that step ran.
  func penalty() -> Tensor {
    let (r, n) = (Double(rank), Double(settings.sampleCount))
    let (d, e) = (deviations.value.to(wide), concentrations.value.to(wide))
    let v =
      (last.map { variances($0.squares) } ?? storedVariances.value.to(wide).diagonal())
      .clamped(lower: 1e-6)
    let (alpha, prior) = (e.exponential(), settings.concentration)
    let total = alpha.sum()
    let constants = Tensor([n * prior, prior]).logGamma().array(of: Double.self)
    let gammas = total.logGamma() + alpha.logGamma().sum()
    let slopes = ((alpha - prior) * (alpha.digamma() - total.digamma())).sum()
    let ofWeights = gammas + slopes - (constants[0] + n * constants[1])
    let doubled = d * 2
    let ofVariances = ((doubled.exponential() - doubled).sum() - r) * (r / 2)
    let ofMatrices = ((v - v.logarithm()).sum() - r) * (n / 2)
    let divergence = (ofWeights + ofVariances + ofMatrices) * settings.divergenceWeight
    guard settings.usesEntropy else { return divergence }
    let w = last.map { weights($0.logits) } ?? storedWeights.value.to(wide)
    return divergence + (w * w).sum()
  }
}

/// MonteCLoRA's part of the loss: the mean over the layers of all adapters that act.
final class MonteCLoRATraining: AdapterTraining {
  private let layers: [MonteCLoRADistribution]

  init(_ layers: [MonteCLoRADistribution]) { self.layers = layers }

  func penalty() -> Tensor? { penalty(among: [self]) }

  func penalty(among acting: [any AdapterTraining]) -> Tensor? {
    guard !layers.isEmpty else { return nil }
    let count = acting.reduce(0) { $0 + (($1 as? MonteCLoRATraining)?.layers.count ?? 0) }
    return Tensor.stacked(layers.map { $0.penalty() }).sum() / Double(count)
  }

  var state: [(name: String, tensor: Tensor)] { [] }
  func restore(_ state: [String: Tensor]) {}
}
