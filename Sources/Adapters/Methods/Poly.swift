import JSONValues
import Layers
import Tensors

/// Configuration of low-rank updates mixed from skills by task: y = x W^T + x A B / r with A
/// `[inputSize, r]` and B `[r, outputSize]` of each row of a batch.
///
/// A row's A and B are means of those of all skills, weighted by how much its task takes of each: the
/// sigmoid of the task's logits, scaled to sum to one; in training a sample of the relaxed Bernoulli
/// distribution of those logits. With several splits the inputs of A and the outputs of B are cut into
/// as many parts, each of which has weights of its own.
///
/// Which task a row has is said by its batch or `PeftModel.context.taskIDs`; without them all have the first one. PEFT
/// 0.21.2 fails then.
///
/// Source: Ponti, Sordoni and Reddy 2022, arXiv 2202.13914; splits: Caccia et al. 2022, arXiv
/// 2211.03831; samples: Maddison, Mnih and Teh 2016, arXiv 1611.00712. Defaults are those of PEFT
/// 0.21.2.
public struct PolyConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "POLY"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Rank of each skill.
  public var rank = 8
  /// How many tasks there are.
  public var taskCount = 1
  /// How many skills each layer has.
  public var skillCount = 4
  /// Into how many parts inputs and outputs are cut; must divide both.
  public var splitCount = 1
  /// Whether a fresh adapter changes nothing: B is zero; else it is random.
  public var startsAtIdentity = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Rank of each skill, positive.
  ///   - taskCount: How many tasks there are.
  ///   - skillCount: How many skills each layer has.
  ///   - splitCount: Into how many parts inputs and outputs are cut.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(
    rank: Int = 8, taskCount: Int, skillCount: Int = 4, splitCount: Int = 1,
    targetModules: TargetModules? = nil
  ) {
    (self.rank, self.taskCount) = (rank, taskCount)
    (self.skillCount, self.splitCount) = (skillCount, splitCount)
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .integer("n_tasks", \.taskCount), .integer("n_skills", \.skillCount),
      .integer("n_splits", \.splitCount), .flag("init_weights", \.startsAtIdentity),
      .off("poly_type", "poly"), .targetModules, .excludeModules, .modulesToSave,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    for (name, value) in [
      ("rank (r)", rank), ("n_tasks", taskCount), ("n_skills", skillCount),
      ("n_splits", splitCount),
    ] { try requirePositive(name, value) }
  }
}

extension PolyConfig: LayerMethod {
  /// What the weights of a merged layer would be depends on the task.
  static var isMergeable: Bool { false }

  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    guard !site.isOutputHead else {
      throw .configuration(
        field: "target_modules", expected: "layers whose inputs are rows of a batch",
        actual: "\(site.path), the output head")
    }
    for (size, what) in [(site.inputSize, "inputs"), (site.outputSize, "outputs")]
    where size % splitCount != 0 {
      throw misfit(
        site, field: "n_splits", expected: "a divisor of its \(size) \(what)",
        actual: "\(splitCount)")
    }
    let (inputs, outputs) = (site.inputSize / splitCount, site.outputSize / splitCount)
    let bShape = [splitCount, skillCount, rank, outputs]
    return PolyAdapter(
      // Each skill starts as a linear layer's weight.
      a: site.uniform(
        [splitCount, skillCount, inputs, rank], bound: 1 / Double(inputs).squareRoot()),
      b: startsAtIdentity
        ? site.zeros(bShape) : site.uniform(bShape, bound: 1 / Double(rank).squareRoot()),
      logits: site.uniform([taskCount, splitCount * skillCount], bound: 1e-3))
  }
}

/// The skills of one layer and which task uses them.
final class PolyAdapter: LayerAdapter {
  let a: Parameter  // [splits, skills, in / splits, rank]
  let b: Parameter  // [splits, skills, rank, out / splits]
  let logits: Parameter  // [tasks, splits * skills]

  init(a: Parameter, b: Parameter, logits: Parameter) {
    (self.a, self.b, self.logits) = (a, b, logits)
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("poly_lora_A", a), AdapterParameter("poly_lora_B", b),
      AdapterParameter("poly_router.module_logits", logits),
    ]
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let rows = x.rank > 2 ? x.size(0) : 1
    let weights = shares(rows, context)  // [rows or 1, splits, skills]
    let rank = a.value.size(-1)
    let (left, right) = (
      mixed(a.value, weights).reshaped([-1, x.size(-1), rank]),
      mixed(b.value, weights).transposed(1, 2).reshaped([-1, rank, y.size(-1)])
    )
    guard left.size(0) > 1 else {
      return addingLowRankProduct(
        to: y, x, a: left.selected(0, 0).transposed(), b: right.selected(0, 0).transposed(),
        scale: 1 / Double(rank), dropout: 0, generator: nil)
    }
    let wide = x.to(left.dtype).reshaped([rows, -1, x.size(-1)])
    let update = wide.matrixProduct(left).matrixProduct(right) * (1 / Double(rank))
    return y.adding(wide: update.reshaped(y.shape))
  }

  /// How much of each skill the rows take, `[rows, splits, skills]`; one row where all take the same.
  private func shares(_ rows: Int, _ context: AdapterContext) -> Tensor {
    let shape = [-1, a.value.size(0), a.value.size(1)]
    var chosen = logits.value.narrowed(0, 0..<1)
    if let tasks = context.tasks(ofRows: rows, among: logits.value.size(0)) {
      chosen = logits.value.embedding(tasks)
    }
    guard context.isTraining else { return normalized(chosen.sigmoid().reshaped(shape)) }
    if chosen.size(0) != rows { chosen = chosen.expanded([rows, chosen.size(1)]) }
    // Away from 0 and 1, whose logits are infinite.
    let drawn = Tensor.randomUniform(
      chosen.shape, dtype: chosen.dtype, device: context.device, generator: context.generator
    ).to(device: chosen.device).clamped(lower: 0x1p-24, upper: 1 - 0x1p-24)
    let noise = drawn.logarithm() - (-drawn + 1.0).logarithm()
    return normalized((chosen + noise).sigmoid().reshaped(shape))
  }

  private func normalized(_ weights: Tensor) -> Tensor {
    weights / (weights.sum([-1], keepDimensions: true) + 1e-12)
  }

  /// Means of the skills of `[splits, skills, n, m]`: `[rows, splits, n, m]`.
  private func mixed(_ skills: Tensor, _ weights: Tensor) -> Tensor {
    let (splits, count, n, m) = (skills.size(0), skills.size(1), skills.size(2), skills.size(3))
    let flat = skills.reshaped([splits, count, n * m])
    return weights.transposed(0, 1).matrixProduct(flat).transposed(0, 1)
      .reshaped([-1, splits, n, m])
  }

  func merge(into layer: inout MergedLayer) {
    preconditionFailure("POLY: merging is refused before it begins")
  }
}
