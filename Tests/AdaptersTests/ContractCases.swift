import Adapters
import Testing

/// A configuration of some method that fits ``TinyModel`` and what the method promises with it.
struct ContractCase: CustomTestStringConvertible {
  let name: String
  let configuration: any AdapterConfiguration
  /// Whether a fresh adapter leaves the model's outputs as they are.
  var isIdentity = true
  /// Largest difference of logits that a fresh adapter may make where it is no identity by zeros but by
  /// two products that cancel.
  var identityError = 1e-6
  /// Whether weights that are rounded to half precision give nearly the same fresh adapter, which
  /// decompositions with close values do not.
  var startsAlike = true
  /// Largest difference of logits between a merged model and one with the adapter apart; nil when the
  /// method cannot be merged.
  var mergeError: Double? = 1e-5
  /// Whether the adapter drops anything in training.
  var hasDropout = false

  var testDescription: String { name }
}

/// At least one for each method; the contract suite runs over all of them.
enum ContractCases {
  static let all: [ContractCase] = lora
}
