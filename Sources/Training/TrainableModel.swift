public import Adapters
public import Layers
import Models
public import Tensors

/// What a run trains: a model with an adapter, or a model as a whole.
public protocol TrainableModel: AnyObject {
  /// The type of the model that computes the loss.
  associatedtype Base: LossModel
  /// The model that computes the loss.
  var base: Base { get }
  /// Parameters that training changes, each once, by the keys of their file.
  var trainableParameters: [(key: String, parameter: Parameter)] { get }
  /// Whether dropout is on.
  var isTraining: Bool { get set }
  /// Source of dropout.
  var generator: Generator { get }
  /// What has to be saved beside the parameters for a run to go on; names begin with "adapter.".
  var trainingState: [(name: String, tensor: Tensor)] { get }

  /// Whether something besides the optimiser changes parameters after an update.
  var actsBetweenUpdates: Bool { get }
  /// Whether writing what was trained reads frozen weights of the base's blocks.
  var readsBlocks: Bool { get }

  /// To be called before the first update of a run.
  ///
  /// - Parameter updates: Updates of the whole run.
  /// - Throws: `AdapterError` when a schedule of the adapter does not fit it.
  func beginTraining(updates: Int) throws(AdapterError)

  /// What is added to the mean loss of a batch.
  ///
  /// - Returns: A scalar; nil for nothing.
  func penalty() -> Tensor?

  /// To be called after each update, before gradients are forgotten.
  ///
  /// - Parameters:
  ///   - step: Updates so far, with this one.
  ///   - total: Updates of the whole run.
  func didStep(_ step: Int, of total: Int)

  /// Takes back what ``trainingState`` gave.
  ///
  /// - Parameter state: Tensors by name; others are ignored.
  func restoreTrainingState(_ state: [String: Tensor])

  /// Writes what was trained, as other programs read it.
  ///
  /// - Parameters:
  ///   - directory: Where; files of other names stay.
  ///   - asPlainLoRA: As in ``PeftModel/savePretrained(_:adapter:asPlainLoRA:)``; a whole model is
  ///     written in one way only.
  /// - Throws: `CheckpointError` and others of writing.
  func write(to directory: String, asPlainLoRA: Bool?) throws

  /// Writes what is trained so that training can go on from it.
  ///
  /// - Parameter directory: Where; files of other names stay.
  /// - Throws: `CheckpointError` and others of writing.
  func writeCheckpoint(to directory: String) throws

  /// Reads again what ``writeCheckpoint(to:)`` wrote.
  ///
  /// - Parameter directory: Where.
  /// - Throws: `CheckpointError` and others of reading.
  func reload(_ directory: String) throws

  /// How much of the model is trained, in PEFT's words.
  ///
  /// - Returns: One line.
  func trainableParametersDescription() -> String
}

extension PeftModel: TrainableModel where Base: LossModel {
  /// Whether dropout is on, the adapter's and the base's own.
  public var isTraining: Bool {
    get { context.isTraining }
    set {
      context.isTraining = newValue
      base.ownDropout?.isOn = newValue
    }
  }

  /// Source of dropout.
  public var generator: Generator { context.generator }

  /// Writes the active adapter.
  ///
  /// - Parameters:
  ///   - directory: Where.
  ///   - asPlainLoRA: As in ``savePretrained(_:adapter:asPlainLoRA:)``.
  /// - Throws: `CheckpointError` when it cannot be written.
  public func write(to directory: String, asPlainLoRA: Bool?) throws {
    try savePretrained(directory, asPlainLoRA: asPlainLoRA)
  }

  /// Writes the active adapter as it is trained.
  ///
  /// - Parameter directory: Where.
  /// - Throws: `CheckpointError` when it cannot be written.
  public func writeCheckpoint(to directory: String) throws { try saveCheckpoint(directory) }
}
