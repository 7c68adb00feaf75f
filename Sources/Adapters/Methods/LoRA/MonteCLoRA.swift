import JSONValues
import Layers
import Tensors

/// Settings of MonteCLoRA: in training A has the weighted mean of some random matrices added to it, whose
/// distribution is trained too.
///
/// A' = A + s sum of w_k Z_k for k = 1 ... `sampleCount`. The numbers of row i of each Z_k are normal with
/// the variance v_i = max(exp(2 d_i) c_i, 1e-3), c_i chi-squared with as many degrees of freedom as the
/// rank has: the diagonal of a Wishart matrix. w is the softmax of normal numbers whose means and
/// variances are Laplace's for a Dirichlet distribution of concentrations exp(e_k). d (`[rank]`) and e
/// (`[sampleCount]`) are trained. In evaluation and in merged weights A stands for its mean A: there it is
/// an ordinary LoRA, and nothing is drawn.
///
/// Training adds to the loss, as PEFT tells its users to (`MontecloraTrainerMixin`, or
/// `_get_monteclora_loss` by hand), the mean over all layers of `divergenceWeight` times the divergence
/// of these distributions from their priors, and with `usesEntropy` of the sum of w_k^2. Its formula is
/// PEFT 0.21.2's: the term of log Gamma(exp(e_k)) has the sign that PEFT gives it, which the divergence of
/// two Dirichlet distributions has not.
///
/// Where PEFT 0.21.2 does something else:
/// - It draws `bufferSize` samples of every layer when the adapter is made or opened, also for evaluation:
///   `bufferSize` * `sampleCount` * `inputSize` * rank numbers. Here each step draws its own, which have
///   the same distribution; `sampleCount` * `inputSize` * rank numbers of a layer live until its backward
///   pass. `bufferSize` is kept for files only.
/// - With gradient checkpointing its backward pass takes other samples than the forward pass; here it
///   takes the same ones.
/// - Its divergence is infinite, and its gradients NaN, from about 20 samples on.
/// - What it draws in half precision beside a base of that type is float32 here.
/// - It forgets the trained distributions of a file that is opened with `low_cpu_mem_usage`, and draws new
///   ones in the first pass, also in evaluation.
///
/// Source: Seth et al. 2024, arXiv 2411.04358. Defaults are those of PEFT 0.21.2.
public struct MonteCLoRAConfig: Equatable, Sendable {
  /// Random matrices that are averaged in each step.
  public var sampleCount = 8
  /// Whether the sum of the squared weights is added to the loss, which keeps them alike.
  public var usesEntropy = false
  /// Concentration of the weights' prior, positive.
  public var concentration = 0.1
  /// s, the factor of what is added to A.
  public var sampleScale = 1e-4
  /// Factor of the divergence in the loss.
  public var divergenceWeight = 1e-5
  /// How many steps PEFT draws at once; nothing here.
  public var bufferSize = 150

  /// Makes PEFT's defaults.
  public init() {}

  static var fields: [ConfigurationField<Self>] {
    [
      .integer("num_samples", \.sampleCount), .flag("use_entropy", \.usesEntropy),
      .number("dirichlet_prior", \.concentration), .number("sample_scaler", \.sampleScale),
      .number("kl_loss_weight", \.divergenceWeight), .integer("buffer_size", \.bufferSize),
    ]
  }
}

extension LoRAConfig {
  /// Checks MonteCLoRA's settings.
  func check(_ settings: MonteCLoRAConfig) throws(AdapterError) {
    try requirePositive("monteclora_config.num_samples", settings.sampleCount)
    try require(
      "monteclora_config.dirichlet_prior",
      settings.concentration > 0 && settings.concentration.isFinite, "a positive number",
      settings.concentration)
    try requireFinite("monteclora_config.sample_scaler", settings.sampleScale)
    try requireFinite("monteclora_config.kl_loss_weight", settings.divergenceWeight)
    // PEFT cannot take a sample out of such a one.
    try requirePositive("monteclora_config.buffer_size", settings.bufferSize)
  }
}

/// A low-rank update that is trained among samples of a distribution around A.
final class MonteCLoRAAdapter: LoRAAdapter {
  let distribution: MonteCLoRADistribution

  init(_ factors: LoRAFactors, _ settings: MonteCLoRAConfig, _ site: LayerSite) {
    distribution = MonteCLoRADistribution(settings, rank: factors.a.value.size(0), site)
    super.init(factors)
  }

  override var parameters: [AdapterParameter] { super.parameters + distribution.parameters }

  override func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    guard context.isTraining else { return adding(to: y, x, context) }
    let a = factors.a.value
    let noise = distribution.noise(inputSize: a.size(1), context.generator)
    return adding(to: y, x, context, a: a + noise.to(a.dtype))
  }
}

extension PeftModel {
  /// Lets layers with MonteCLoRA take given samples in training, for comparisons with another program.
  ///
  /// - Parameters:
  ///   - samples: Samples by the paths of layers; other layers draw theirs.
  ///   - name: The adapter.
  package func setMonteCLoRASamples(_ samples: [String: MonteCLoRASamples], of name: String) {
    for (path, _, adapter) in adaptedLayers(name) {
      (adapter.lowRankUpdate as? MonteCLoRAAdapter)?.distribution.given = samples[path]
    }
  }
}
