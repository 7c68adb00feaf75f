import Adapters
import Checkpoints
import Collectives
import CommandLineParsing
import Datasets
import JSONValues
import Models
import Optimizers
import Quantization
import Tokenizers
import Training

/// Exit codes of the command.
enum ExitCode: Int32 {
  case done = 0
  case usage = 64
  case badData = 65
  case missingInput = 66
  /// Another process of the run is gone: what ended it is its own affair.
  case peerGone = 69
  case internalError = 70
  case cannotWrite = 73
  case stoppedWithCheckpoint = 75
  case stoppedWithoutCheckpoint = 130

  /// The code for an error that ended a verb.
  init(of error: any Error) {
    switch error {
    case is UsageError: self = .usage
    case let error as CheckpointError:
      switch error.kind {
      case .inputMissing: self = .missingInput
      case .badData: self = .badData
      case .cannotWrite: self = .cannotWrite
      case .misuse: self = .internalError
      }
    case let error as HubError where error.isUsage: self = .usage
    case let error as HubError:
      switch error.kind {
      case .inputMissing: self = .missingInput
      case .badData: self = .badData
      case .cannotWrite: self = .cannotWrite
      case .misuse: self = .internalError
      }
    case let error as DatasetError:
      switch error.kind {
      case .missingFile: self = .missingInput
      case .badData: self = .badData
      case .usage: self = .usage
      }
    case let error as JSONError:
      if case .missing = error { self = .missingInput } else { self = .badData }
    case let error as AdapterError:
      switch error {
      case .configuration, .unsupported, .noSuchModules, .name, .conflict, .impossible:
        self = .usage
      case .unknownMethod, .unknownFields, .file, .keys, .notFinite: self = .badData
      }
    case let error as DecompositionError:
      if case .outOfRange = error { self = .usage } else { self = .badData }
    case let error as TrainingError:
      switch error {
      case .outputExists: self = .cannotWrite
      case .option, .quantized, .ranks: self = .usage
      case .resume: self = .missingInput
      case .diverged: self = .internalError
      }
    case let error as TokenizerError:
      if case .missingFile = error { self = .missingInput } else { self = .badData }
    case let error as CollectiveError:
      switch error {
      case .environment: self = .usage
      case .rendezvous, .peer: self = .peerGone
      case .diverged, .lateGradient: self = .internalError
      }
    case is RecipeError, is ModelError, is QuantizationError, is ChatTemplateError,
      is OptimizerError:
      self = .badData
    default: self = .internalError
    }
  }
}
