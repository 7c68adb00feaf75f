import JSONValues

extension LoRAConfig {
  /// How A and B start.
  ///
  /// Some starts are parts of W, which the base then has to lack: the layer is
  /// W - s B0 A0 + s B A. Here W stays as it is and the adapter keeps B0 and A0, so that this holds for
  /// half-precision and quantised weights without rounding W anew, the base is there when adapters are
  /// disabled, and adapters do not disturb each other. PEFT writes W - s B0 A0 over W.
  public enum Initialization: Equatable, Sendable {
    /// A uniform in ±1/sqrt(inputSize), B zero.
    case standard
    /// A normal with standard deviation 1/rank, B zero.
    case gaussian
    /// Both uniform as a new linear layer's weight, so that the output changes at once.
    case random
    /// Rows of A and columns of B in complementary halves of a random rotation, so that B A = 0 with
    /// neither of them zero. The rank must be even.
    case orthogonal
    /// The largest singular components of W: s B0 A0 is the best approximation of W of that rank.
    ///
    /// Source: Meng et al. 2024, arXiv 2404.02948.
    case pissa
    /// As `pissa`, by randomised subspace iteration with this many power iterations.
    ///
    /// Drawn with a fixed seed. PEFT draws anew wherever a file is opened, so that its files of this
    /// kind do not say what base they belong to; here they are written as plain LoRA, see
    /// ``PeftModel/savePretrained(_:adapter:asPlainLoRA:)``.
    case pissaFast(iterations: Int)
    /// The first columns of Q and rows of R of W = Q R.
    ///
    /// Source: Büyükakyüz 2024, arXiv 2406.01775.
    case olora
    /// The smallest singular components of W, as in `pissa`; PEFT has no such start.
    ///
    /// Source: Wang et al. 2024 (MiLoRA), arXiv 2406.09044.
    case milora
    /// Left singular vectors of W of its smallest singular values as B, which is not trained; A zero.
    ///
    /// Source: arXiv 2604.01694 (MiCA).
    case mica
    /// Eigenvectors of the symmetric part of a square W; PEFT has no such start.
    ///
    /// With (W + W^T) / 2 = Q diag(l) Q^T and the `rank` eigenvalues of largest magnitude,
    /// A0 = sqrt(|l| / s) Q^T and B0 = Q sign(l) sqrt(|l| / s), so that s B0 A0 is the best symmetric
    /// approximation of that rank of W's symmetric part. Eigenvectors are directions that a map leaves
    /// in place, which only a map of a space into itself can have: layers with another output size
    /// than input size are refused.
    case eigen
    /// Principal components of the layer's inputs as A, B zero; ranks by the variance they explain.
    ///
    /// As `standard` until ``PeftModel/calibrate(_:adapter:)``; see ``EVAConfig``.
    case eva
    /// Components of W that matter for the layer's inputs, as in `pissa`; see ``CorDAConfig``.
    ///
    /// As `standard` until ``PeftModel/calibrate(_:adapter:)``.
    case corda
    /// Singular directions of the loss's gradient at W, taken from the base; see ``LoRAGAConfig``.
    ///
    /// As `standard` until ``PeftModel/calibrate(_:adapter:)``.
    case loraGA
    /// The best approximation of what quantising W lost; see ``LoftQConfig``.
    ///
    /// As `standard` until ``PeftModel/startLoftQ(adapter:weight:)``.
    case loftq
  }
}

extension LoRAConfig.Initialization {
  /// Whether the layer starts as W - s B0 A0 + s B A instead of W + s B A.
  var changesBase: Bool {
    switch self {
    case .pissa, .pissaFast, .olora, .milora, .eigen, .corda, .loraGA: true
    default: false
    }
  }

  /// Whether PEFT finds A0 and B0 again from W alone, so that files need not hold them.
  var isReproducible: Bool {
    switch self {
    case .pissa, .olora: true
    default: false
    }
  }

  /// Whether data is needed to find A and B.
  var isFromData: Bool { [.eva, .corda, .loraGA].contains(self) }

  /// As files spell it.
  var json: JSON {
    switch self {
    case .standard: true
    case .gaussian: "gaussian"
    case .random: false
    case .orthogonal: "orthogonal"
    case .pissa: "pissa"
    case .pissaFast(let iterations): .string("pissa_niter_\(iterations)")
    case .olora: "olora"
    case .milora: "milora"
    case .mica: "mica"
    case .eigen: "eigen"
    case .eva: "eva"
    case .corda: "corda"
    case .loraGA: "lora_ga"
    case .loftq: "loftq"
    }
  }

  /// Reads the spelling of files.
  init?(json: JSON) {
    if let flag = json.boolValue {
      self = flag ? .standard : .random
      return
    }
    let named: [Self] = [
      .gaussian, .orthogonal, .pissa, .olora, .milora, .mica, .eigen, .eva, .corda, .loraGA, .loftq,
    ]
    let text = json.stringValue?.lowercased() ?? ""
    if let found = named.first(where: { $0.json.stringValue == text }) {
      self = found
      return
    }
    let prefix = "pissa_niter_"
    guard text.hasPrefix(prefix), let count = Int(text.dropFirst(prefix.count)), count >= 0 else {
      return nil
    }
    self = .pissaFast(iterations: count)
  }
}

extension ConfigurationField<LoRAConfig> {
  static var initialization: Self {
    Self(
      "init_lora_weights",
      read: { (object, reader) throws(AdapterError) in
        guard let value = reader.value("init_lora_weights") else { return }
        guard let found = LoRAConfig.Initialization(json: value) else {
          throw .unsupported(field: "init_lora_weights", value: value.serialized())
        }
        object.initialization = found
      },
      write: { $0.initialization.json })
  }
}
