import Layers
import Tensors

/// Configuration of generalised LoRA: W becomes W + W o A + B and the bias b becomes b + b o D + E +
/// W C, where o multiplies element by element.
///
/// C, D and E act in layers with a bias only. What does not act is in files nevertheless, as zeros.
///
/// Source: Chavan et al. 2023, arXiv 2306.07967. Defaults are those of PEFT 0.21.2.
public struct GLoRAConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "GLORA"

  /// What A and B are.
  public enum WeightForm: String, Sendable, CaseIterable {
    /// A product of `[outputSize, rank]` and `[rank, inputSize]`.
    case lora
    /// One number for each output.
    case vector
    /// One number.
    case constant
    /// Zero.
    case none
  }

  /// What C is.
  public enum InputForm: String, Sendable, CaseIterable {
    /// A product of `[inputSize, rank]` and `[rank, 1]`.
    case lora
    /// One number for each input.
    case vector
    /// Zero.
    case none
  }

  /// What D and E are.
  public enum BiasForm: String, Sendable, CaseIterable {
    /// One number for each output.
    case vector
    /// One number.
    case constant
    /// Zero.
    case none
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Rank of what is a product.
  public var rank = 8
  /// What A and B are.
  public var weightForm = WeightForm.lora
  /// What C is.
  public var inputForm = InputForm.lora
  /// What D and E are.
  public var biasForm = BiasForm.constant
  /// Whether everything starts without an effect instead of at random.
  public var hasStandardInitialization = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Rank of what is a product, positive.
  ///   - weightForm: What A and B are.
  ///   - inputForm: What C is.
  ///   - biasForm: What D and E are.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(
    rank: Int = 8, weightForm: WeightForm = .lora, inputForm: InputForm = .lora,
    biasForm: BiasForm = .constant, targetModules: TargetModules? = nil
  ) {
    self.rank = rank
    self.weightForm = weightForm
    self.inputForm = inputForm
    self.biasForm = biasForm
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .choice("config_A_B", \.weightForm), .choice("config_C", \.inputForm),
      .choice("config_D_E", \.biasForm), .flag("init_weights", \.hasStandardInitialization),
      .targetModules, .bias, .modulesToSave,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("rank (r)", rank)
    try require(
      "config_A_B, config_C and config_D_E",
      weightForm != .none || inputForm != .none || biasForm != .none, "something to train",
      "none of them")
  }
}

extension GLoRAConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let (inputs, outputs) = (site.inputSize, site.outputSize)
    let hasBias = site.base.bias != nil
    guard hasBias || weightForm != .none else {
      throw misfit(
        site, field: "config_A_B", expected: "not none, as it has no bias", actual: "none")
    }
    func weightPart() -> GLoRAPart {
      switch weightForm {
      case .lora: .product(site, rows: outputs, columns: inputs, self)
      case .vector: .column(site, count: outputs, self)
      case .constant: .scalar(site, self)
      case .none: .zeros(site, [outputs, inputs])
      }
    }
    func inputPart() -> GLoRAPart {
      switch hasBias ? inputForm : .none {
      case .lora: .product(site, rows: inputs, columns: 1, self)
      case .vector: .column(site, count: inputs, self)
      case .none: .zeros(site, [inputs, 1])
      }
    }
    func biasPart() -> GLoRAPart {
      switch hasBias ? biasForm : .none {
      case .vector: .vector(site, count: outputs, self)
      case .constant: .scalar(site, self)
      case .none: .zeros(site, [outputs])
      }
    }
    return GLoRAAdapter(
      a: weightPart(), b: weightPart(), c: inputPart(), d: biasPart(), e: biasPart())
  }
}

/// One of A to E.
struct GLoRAPart {
  private let own: [(name: String, parameter: Parameter)]
  private let isTrained: Bool

  private init(_ own: [(name: String, parameter: Parameter)], isTrained: Bool = true) {
    self.own = own
    self.isTrained = isTrained
  }

  func parameters(_ letter: String) -> [AdapterParameter] {
    own.map { AdapterParameter("glora_\(letter).\($0.name)", $0.parameter, isTrained: isTrained) }
  }

  /// The part as numbers, to be broadcast; nil for zero.
  func value(_ type: DType) -> Tensor? {
    guard isTrained else { return nil }
    let factors = own.map { $0.parameter.value.to(type) }
    return factors.dropFirst().reduce(factors[0]) { $0.matrixProduct($1) }
  }

  static func product(
    _ site: LayerSite, rows: Int, columns: Int, _ config: GLoRAConfig
  ) -> GLoRAPart {
    let up = site.linearUniform([config.rank, columns])
    let shape = [rows, config.rank]
    return GLoRAPart([
      ("Xd", config.hasStandardInitialization ? site.zeros(shape) : site.linearUniform(shape)),
      ("Xu", up),
    ])
  }

  static func column(_ site: LayerSite, count: Int, _ config: GLoRAConfig) -> GLoRAPart {
    let shape = [count, 1]
    return GLoRAPart([
      ("X", config.hasStandardInitialization ? site.zeros(shape) : site.linearUniform(shape))
    ])
  }

  static func vector(_ site: LayerSite, count: Int, _ config: GLoRAConfig) -> GLoRAPart {
    let bound = 1 / Double(count).squareRoot()
    return GLoRAPart([
      (
        "X",
        config.hasStandardInitialization
          ? site.zeros([count]) : site.uniform([count], bound: bound)
      )
    ])
  }

  static func scalar(_ site: LayerSite, _ config: GLoRAConfig) -> GLoRAPart {
    GLoRAPart([
      (
        "X",
        config.hasStandardInitialization ? site.zeros([1]) : site.normal([1], deviation: 0.02)
      )
    ])
  }

  static func zeros(_ site: LayerSite, _ shape: [Int]) -> GLoRAPart {
    GLoRAPart([("zeros", site.zeros(shape))], isTrained: false)
  }
}

/// A change of one layer's weight and bias that depends on them.
final class GLoRAAdapter: LayerAdapter {
  let (a, b, c, d, e): (GLoRAPart, GLoRAPart, GLoRAPart, GLoRAPart, GLoRAPart)

  init(a: GLoRAPart, b: GLoRAPart, c: GLoRAPart, d: GLoRAPart, e: GLoRAPart) {
    (self.a, self.b, self.c, self.d, self.e) = (a, b, c, d, e)
  }

  var parameters: [AdapterParameter] {
    zip("ABCDE", [a, b, c, d, e]).flatMap { $1.parameters(String($0)) }
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let type = DType.computing(base.dtype)
    let weight = base.denseWeight().detached().to(type)
    let change = biasChange(weight, base.bias?.value.to(type))
    guard let update = weightChange(weight) else {
      return change.map { y.adding(wide: $0) } ?? y
    }
    return y.adding(wide: x.to(type).linear(update, bias: change))
  }

  func merge(into layer: inout MergedLayer) {
    withoutGradients {
      let change = biasChange(layer.weight, layer.bias)
      layer.weight = weightChange(layer.weight).map { layer.weight + $0 } ?? layer.weight
      if let change { layer.bias = layer.bias.map { $0 + change } }
    }
  }

  /// W o A + B, `[out, in]`; nil for nothing.
  private func weightChange(_ weight: Tensor) -> Tensor? {
    guard let a = a.value(weight.dtype), let b = b.value(weight.dtype) else { return nil }
    return weight * a + b
  }

  /// b o D + E + W C, `[out]`; nil for nothing.
  private func biasChange(_ weight: Tensor, _ bias: Tensor?) -> Tensor? {
    guard let bias else { return nil }
    let type = weight.dtype
    var change = c.value(type).map { weight.matrixProduct($0).squeezed(1) }
    if let d = d.value(type), let e = e.value(type) {
      let own = bias * d + e
      change = change.map { $0 + own } ?? own
    }
    return change
  }
}
