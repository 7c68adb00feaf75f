import JSONValues
import Layers

/// What distinguishes one family of encoders from another.
struct EncoderFamily: Sendable {
  /// `model_type` of config.json.
  let modelType: String
  /// What its class has for keys that a file leaves out.
  var defaults: [String: JSON] = [:]
  /// Other names of keys in its files.
  var keys: [String: String] = [:]
  var names = EncoderNames()
  /// What its heads are made of.
  var heads: EncoderHeads
  /// What it drops in training.
  var dropout: @Sendable (ConfigurationReader) throws(ModelError) -> DropoutRates = {
    (reader) throws(ModelError) in try .bert(reader)
  }
  /// Whether its blocks take keys and values of virtual tokens, as its classes in transformers do.
  var takesKeysAndValues = true
  /// Sets what is different from BERT.
  var adjust:
    @Sendable (inout EncoderConfiguration, ConfigurationReader) throws(ModelError) -> Void = {
      (_, _) throws(ModelError) in
    }

  /// A reader that knows the family's keys and defaults.
  func reader(_ json: JSON, path: String) -> ConfigurationReader {
    ConfigurationReader(json: json, path: path, defaults: defaults, names: keys)
  }
}
