import JSONValues
import Layers
import Tensors

/// Configuration of orthogonal subspace fine-tuning: of W = U diag(S) V the part of its smaller
/// singular values is trained, orthogonally to the kept part of the larger ones.
///
/// The layer computes W + Ul diag(Sl) Vl - (the same as it was), from W's decomposition, so a file is
/// for the base model alone that it was trained on. Gradients of Ul and Vl lose what lies in the kept
/// subspaces.
///
/// Source: Nayak et al. 2025, arXiv 2504.07097. Defaults are those of PEFT 0.21.2.
public struct OSFConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "OSF"

  /// How many singular values are kept.
  public enum KeptRank: Equatable, Sendable {
    /// This many.
    case count(Int)
    /// This share of the smaller dimension of W, in 0 ... 1, rounded down.
    case share(Double)
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// How many of the largest singular values are kept; nil for half of them.
  public var keptRank: KeptRank?
  /// Others for single layers by an expression that is found anywhere in their path; the first one
  /// counts.
  public var rankPattern: [PathPattern<KeptRank>] = []
  /// Whether the trained part starts as W's, which changes nothing, instead of as normal numbers.
  public var hasStandardInitialization = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - keptRank: How many of the largest singular values are kept; nil for half of them.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(keptRank: KeptRank?, targetModules: TargetModules? = nil) {
    self.keptRank = keptRank
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      rankField, patternField, .flag("init_weights", \.hasStandardInitialization), .targetModules,
      .modulesToSave, .off("target_svd_config", nil, ignoring: true),
    ]
  }

  /// PEFT's own table; of other models, every linear layer is a target.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil for every linear one.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.osf[modelType]
  }

  private static var rankField: ConfigurationField<Self> {
    ConfigurationField(
      "effective_rank",
      read: { (object, reader) throws(AdapterError) in
        guard let value = reader.value("effective_rank") else { return }
        guard let rank = KeptRank(value) else {
          throw reader.wrong("effective_rank", KeptRank.expected)
        }
        object.keptRank = rank
      }, write: { $0.keptRank?.json ?? .null })
  }

  private static var patternField: ConfigurationField<Self> {
    ConfigurationField(
      "rank_pattern",
      read: { (object, reader) throws(AdapterError) in
        var result: [PathPattern<KeptRank>] = []
        for (pattern, value) in try reader.object("rank_pattern") {
          guard let rank = KeptRank(value) else {
            throw reader.wrong("rank_pattern", KeptRank.expected)
          }
          result.append(PathPattern(pattern, rank))
        }
        object.rankPattern = result
      },
      write: { object in
        object.rankPattern.isEmpty
          ? .null : .object(JSONObject(object.rankPattern.map { ($0.pattern, $0.value.json) }))
      })
  }
}

extension OSFConfig.KeptRank {
  static let expected = "a whole number, or a share in 0 ... 1 with a point"

  /// Reads PEFT's spelling: with a fraction it is a share.
  init?(_ json: JSON) {
    if let count = json.intValue {
      self = .count(count)
    } else if let share = json.doubleValue, share > 0, share <= 1 {
      self = .share(share)
    } else {
      return nil
    }
  }

  var json: JSON {
    switch self {
    case .count(let count): .integer(count)
    case .share(let share): .number(share)
    }
  }
}

extension OSFConfig: LayerMethod {
  func completed(modelType: String?) throws(AdapterError) -> Self {
    guard targetModules == nil, modelType.flatMap(Self.defaultTargets) == nil else { return self }
    var result = self
    result.targetModules = .allLinear
    return result
  }

  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let smaller = min(site.inputSize, site.outputSize)
    var chosen = keptRank ?? .count(smaller / 2)
    for entry in rankPattern {
      let pattern = ".*(?:\(entry.pattern)).*"
      guard try TargetMatching.matches(site.path, pattern: pattern, field: "rank_pattern") else {
        continue
      }
      chosen = entry.value
      break
    }
    let kept =
      switch chosen {
      case .count(let count): count
      case .share(let share): Int(Double(smaller) * share)
      }
    guard (1..<smaller).contains(kept) else {
      throw misfit(
        site, field: "effective_rank",
        expected: "at least 1 and less than its \(smaller) singular values", actual: "\(kept)")
    }
    let (u, s, v) = site.base.denseWeight().detached().to(.computing(site.base.dtype))
      .singularValueDecomposition()
    func part(_ range: Range<Int>) -> LowRankFactors {
      LowRankFactors(
        u: u.narrowed(1, range).contiguous(), s: s.narrowed(0, range).contiguous(),
        v: v.narrowed(0, range).contiguous())
    }
    return OSFAdapter(
      initial: part(kept..<smaller), kept: part(0..<kept), site.dtype,
      trained: hasStandardInitialization
        ? nil
        : (
          site.normal([site.outputSize, smaller - kept]), site.normal([smaller - kept]),
          site.normal([smaller - kept, site.inputSize])
        ))
  }
}

/// U `[out, rank]`, S `[rank]` and V `[rank, in]`.
struct LowRankFactors {
  let (u, s, v): (Tensor, Tensor, Tensor)

  init(u: Tensor, s: Tensor, v: Tensor) { (self.u, self.s, self.v) = (u, s, v) }
}

/// The trained part of one layer's weight.
final class OSFAdapter: LayerAdapter {
  let (u, s, v): (Parameter, Parameter, Parameter)
  private let initial: LowRankFactors
  /// Orthonormal columns of what gradients of U may have, or nil and of what they may not have.
  private let (outputs, keptOutputs): (Tensor?, Tensor?)
  /// Orthonormal rows, likewise, for V.
  private let (inputs, keptInputs): (Tensor?, Tensor?)

  init(
    initial: LowRankFactors, kept: LowRankFactors, _ dtype: DType,
    trained: (u: Parameter, s: Parameter, v: Parameter)?
  ) {
    self.initial = initial
    func start(_ tensor: Tensor) -> Parameter {
      Parameter(tensor.dtype == dtype ? tensor.cloned() : tensor.to(dtype))
    }
    (u, s, v) = trained ?? (start(initial.u), start(initial.s), start(initial.v))
    // What is left beside the kept vectors is the span of the others where all of them together are
    // a basis, so that only one of both has to be held.
    let (rows, columns) = (initial.u.size(0), initial.v.size(1))
    (outputs, keptOutputs) = rows <= columns ? (initial.u, nil) : (nil, kept.u)
    (inputs, keptInputs) = rows >= columns ? (initial.v, nil) : (nil, kept.v)
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("osf_svd_params.U_low", u), AdapterParameter("osf_svd_params.S_low", s),
      AdapterParameter("osf_svd_params.V_low", v),
    ]
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let (left, right) = factors()
    return y.adding(wide: x.to(right.dtype).linear(right).linear(left))
  }

  func merge(into layer: inout MergedLayer) {
    withoutGradients {
      let (left, right) = factors()
      layer.weight.addMatrixProductInPlace(left, right)
    }
  }

  /// The change of W as a product of `[out, 2 rank]` and `[2 rank, in]`.
  private func factors() -> (left: Tensor, right: Tensor) {
    let type = initial.u.dtype
    let u = projectingGradient(u.value.to(type)) { [outputs, keptOutputs] gradient in
      let basis = outputs ?? keptOutputs ?? gradient
      let part = basis.matrixProduct(basis.transposed().matrixProduct(gradient))
      return outputs == nil ? gradient - part : part
    }
    let v = projectingGradient(v.value.to(type)) { [inputs, keptInputs] gradient in
      let basis = inputs ?? keptInputs ?? gradient
      let part = gradient.matrixProduct(basis.transposed()).matrixProduct(basis)
      return inputs == nil ? gradient - part : part
    }
    return (
      .concatenated([u * s.value.to(type), -(initial.u * initial.s)], dimension: 1),
      .concatenated([v, initial.v])
    )
  }
}

/// The tensor itself, whose gradient gets changed.
private func projectingGradient(
  _ tensor: Tensor, _ change: @escaping (_ gradient: Tensor) -> Tensor
) -> Tensor {
  differentiable("OSF", [tensor]) { inputs in
    (inputs[0].detached(), { gradient in [change(gradient)] })
  }
}
