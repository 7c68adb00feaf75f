import Adapters
import Checkpoints
public import Layers
import Models
public import Tensors

/// A model all of whose weights are trained.
public final class FullFineTuning<Base: LossModel>: TrainableModel {
  /// The model.
  public let base: Base
  /// Whether the model's own dropout is on.
  public var isTraining = false {
    didSet { base.ownDropout?.isOn = isTraining }
  }
  /// Source of dropout.
  public let generator: Generator

  private let directoryWriter: (_ directory: String) throws -> Void

  /// Makes every weight of a model trainable.
  ///
  /// Weights that are mapped from files are copied. A weight that two layers share is one.
  ///
  /// - Parameters:
  ///   - base: The model; changed in place.
  ///   - seed: Start of random numbers.
  ///   - write: Writes the model's directory; weights go to `model.safetensors` under the model's own
  ///     names.
  /// - Throws: ``TrainingError/quantized(layer:)`` for a model with a layer of 8 or 4 bits, whose codes
  ///   have no gradient.
  public init(
    _ base: Base, seed: UInt64 = 0, write: @escaping (String) throws -> Void
  ) throws(TrainingError) {
    if let quantized = base.modules().first(where: { $0.module.storedCount > 0 }) {
      throw .quantized(layer: quantized.path)
    }
    self.base = base
    generator = Generator(seed: seed, device: base.device)
    directoryWriter = write
    base.dropoutGenerator = generator
    for (_, parameter) in trainableParameters {
      parameter.value = parameter.value.detached().cloned()
      parameter.isTrainable = true
    }
  }

  /// Every parameter, each once.
  public var trainableParameters: [(key: String, parameter: Parameter)] {
    var seen: Set<Parameter> = []
    return base.parameters().filter { seen.insert($0.parameter).inserted }
      .map { ($0.path, $0.parameter) }
  }

  /// Nothing.
  public var trainingState: [(name: String, tensor: Tensor)] { [] }

  /// Never.
  public var actsBetweenUpdates: Bool { false }

  /// Never: nothing is frozen.
  public var readsBlocks: Bool { false }

  /// Nothing to do.
  ///
  /// - Parameter updates: Ignored.
  public func beginTraining(updates: Int) {}

  /// Nothing.
  ///
  /// - Returns: nil.
  public func penalty() -> Tensor? { nil }

  /// Nothing to do.
  ///
  /// - Parameters:
  ///   - step: Updates so far.
  ///   - total: Updates of the whole run.
  public func didStep(_ step: Int, of total: Int) {}

  /// Nothing to do.
  ///
  /// - Parameter state: Ignored.
  public func restoreTrainingState(_ state: [String: Tensor]) {}

  /// Writes the model's directory.
  ///
  /// - Parameters:
  ///   - directory: Where.
  ///   - asPlainLoRA: Ignored.
  /// - Throws: What the writer throws.
  public func write(to directory: String, asPlainLoRA: Bool?) throws {
    try directoryWriter(directory)
  }

  /// Writes the model's directory.
  ///
  /// - Parameter directory: Where.
  /// - Throws: What the writer throws.
  public func writeCheckpoint(to directory: String) throws { try directoryWriter(directory) }

  /// Reads the weights again.
  ///
  /// - Parameter directory: Where ``writeCheckpoint(to:)`` wrote them.
  /// - Throws: `CheckpointError` when a weight is missing or has another shape.
  public func reload(_ directory: String) throws {
    let file = try SafetensorsFile(path: directory + "/model.safetensors")
    let transposed = base.pathsTransposedInFiles
    for (key, parameter) in trainableParameters {
      let name = base.namesInFiles(key)[0]
      guard let entry = file[name] else {
        throw CheckpointError.lacks(path: file.path, what: "tensor \(quoted(name))")
      }
      let isTransposed = transposed.contains(key)
      let current = parameter.value
      let shape = isTransposed ? current.shape.reversed() : current.shape
      guard entry.shape == shape else {
        throw CheckpointError.mismatch(
          path: file.path, what: key, expected: "shape \(shape)", actual: "\(entry.shape)")
      }
      // A copy: the file may be replaced while the model lives.
      // Transposed it lies in memory as when it was opened, so that products round alike.
      let found = try file.tensor(entry)
      parameter.value = (isTransposed ? found.transposed() : found).to(current.dtype)
        .to(device: current.device).cloned()
      parameter.isTrainable = true
    }
  }

  /// How much of the model is trained, in PEFT's words.
  ///
  /// - Returns: One line.
  public func trainableParametersDescription() -> String {
    let count = trainableParameters.reduce(0) { $0 + $1.parameter.count }
    return "trainable params: \(count.grouped) || all params: \(count.grouped) "
      + "|| trainable%: 100.0000"
  }
}
