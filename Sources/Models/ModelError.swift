/// What can be wrong with a model that somebody brings.
public enum ModelError: Error, Equatable, Sendable {
  /// `config.json` is not a usable configuration.
  case configuration(path: String, key: String, expected: String, actual: String)
  /// The model's type is not one of the registry.
  case unknownModelType(path: String, type: String, known: [String])
  /// A feature that the configuration asks for is not there yet.
  case unsupported(path: String, what: String, supported: [String])
  /// A weight that the model needs is not in the checkpoint.
  case missingTensor(path: String, name: String)
  /// A weight has another shape than the configuration says.
  case wrongShape(path: String, name: String, expected: [Int], actual: [Int])
  /// The checkpoint has a weight that the model has no place for.
  case unexpectedTensor(path: String, name: String)
  /// A weight is stored in a type that cannot be computed with.
  case wrongType(path: String, name: String, actual: String)
  /// Ids or lengths that the model cannot take.
  case input(String)
}

extension ModelError: CustomStringConvertible {
  /// What is wrong, where, and what was expected.
  public var description: String {
    switch self {
    case .configuration(let path, let key, let expected, let actual):
      "\(path): \(key) is \(actual), expected \(expected)"
    case .unknownModelType(let path, let type, let known):
      "\(path): model type \"\(type)\" is not supported; known: \(known.joined(separator: ", "))"
    case .unsupported(let path, let what, let supported):
      "\(path): \(what) is not supported; supported: \(supported.joined(separator: ", "))"
    case .missingTensor(let path, let name):
      "\(path): the checkpoint has no tensor \(name)"
    case .wrongShape(let path, let name, let expected, let actual):
      "\(path): tensor \(name) has shape \(actual), expected \(expected) by config.json"
    case .unexpectedTensor(let path, let name):
      "\(path): the checkpoint has tensor \(name), for which the model has no place by config.json; "
        + "without it, it would compute something else (check attention_bias, mlp_bias, model_type)"
    case .wrongType(let path, let name, let actual):
      "\(path): tensor \(name) is stored as \(actual), expected a floating-point type; only linear "
        + "layers can be quantised"
    case .input(let message): message
    }
  }
}
