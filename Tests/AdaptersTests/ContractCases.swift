import Adapters
import Testing

/// A configuration of some method that fits ``TinyModel`` and what the method promises with it.
struct ContractCase: CustomTestStringConvertible {
  let name: String
  let configuration: any AdapterConfiguration
  /// Whether a fresh adapter leaves the model's outputs as they are.
  var isIdentity = true
  /// Largest difference of logits that rounding may make in a fresh adapter that leaves them, also one
  /// that does so by two products that cancel.
  var identityError = 1e-6
  /// The same over weights of 8 bits: larger for methods that take a part of the layer's output, with
  /// its rounded activations, out and put an exact one in.
  var int8IdentityError = 1e-2
  /// Whether weights that are rounded to half precision give nearly the same fresh adapter, which
  /// decompositions with close values do not.
  var startsAlike = true
  /// Largest difference of logits between a merged model and one with the adapter apart; nil when the
  /// method cannot be merged.
  var mergeError: Double? = 1e-5
  /// Whether the adapter drops anything in training.
  var hasDropout = false
  /// Largest difference of logits after saving and opening, for methods whose files hold something else
  /// than their tensors; 0 for none.
  var fileError = 0.0
  /// Whether the adapter's tensors have the base's type: copies of the model's own have.
  var hasBaseType = false

  /// Length of a step of training in each number: longer for those that begin far from zero.
  var step = 2e-3
  /// Parts of the keys of tensors that are trained but nothing depends on, so that they get no gradient.
  var unusedKeys: [String] = []

  /// Whether nothing depends on a tensor.
  func isUnused(_ key: String) -> Bool { unusedKeys.contains(where: key.contains) }

  var testDescription: String { name }
}

/// At least one for each method; the contract suite runs over all of them.
enum ContractCases {
  static let all: [ContractCase] =
    lora + deltas + shared + rotations + prompts + adaptive + routes

  /// Layers of different shapes.
  static let some = TargetModules.names(["q_proj", "v_proj", "down_proj"])
}

/// A configuration with some fields changed.
func changed<Configuration>(
  _ configuration: Configuration, _ change: (inout Configuration) -> Void
) -> Configuration {
  var configuration = configuration
  change(&configuration)
  return configuration
}

/// The default configuration of a method with some fields changed.
func changed<Configuration: AdapterConfiguration>(
  _ change: (inout Configuration) -> Void
) -> Configuration {
  changed(Configuration(), change)
}

/// A configuration for all linear layers with some fields changed.
func onAllLinear<Configuration: LayerConfiguration>(
  _ configuration: Configuration, _ change: (inout Configuration) -> Void
) -> Configuration {
  changed(configuration) {
    $0.targetModules = .allLinear
    change(&$0)
  }
}
