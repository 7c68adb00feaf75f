/// What can be wrong with a quantised checkpoint.
public enum QuantizationError: Error, Equatable, Sendable {
  /// The checkpoint was quantised by a method that is not known here.
  case unknownMethod(path: String, method: String)
  /// `quantization_config` holds something that cannot be used.
  case configuration(path: String, key: String, expected: String, actual: String)
  /// A tensor that belongs to a quantised weight is not in the checkpoint.
  case missingState(path: String, weight: String, missing: String)
  /// A tensor of a quantised weight has a value or shape that does not fit the others.
  case state(path: String, tensor: String, expected: String, actual: String)
  /// A weight that is to be quantised has numbers that are not finite.
  case notFinite(weight: String)
  /// The checkpoint is quantised already, in another way than is asked for.
  case alreadyQuantized(path: String, format: String, wanted: String)
}

extension QuantizationError: CustomStringConvertible {
  /// What is wrong, where, and what to do.
  public var description: String {
    switch self {
    case .unknownMethod(let path, let method):
      "\(path): the weights are quantised by \(method), which is not supported; supported: "
        + "bitsandbytes (int8, nf4, fp4). Take the unquantised model and --quantize it"
    case .configuration(let path, let key, let expected, let actual):
      "\(path): quantization_config.\(key) is \(actual), expected \(expected)"
    case .missingState(let path, let weight, let missing):
      "\(path): the quantised weight \(weight) lacks \(missing); the checkpoint is not complete"
    case .state(let path, let tensor, let expected, let actual):
      "\(path): \(tensor): expected \(expected), found \(actual)"
    case .notFinite(let weight):
      "\(weight) has numbers that are not finite (NaN or infinity); it cannot be quantised"
    case .alreadyQuantized(let path, let format, let wanted):
      "\(path): the model is quantised as \(format) already and cannot be opened as \(wanted); take "
        + "the unquantised model, or merge it into one"
    }
  }
}
