import JSONValues
import Layers

/// What distinguishes one family of decoders from another.
struct DecoderFamily: Sendable {
  /// `model_type` of config.json.
  let modelType: String
  /// What its class has for keys that a file leaves out.
  var defaults: [String: JSON] = [:]
  /// Other names of keys in its files.
  var keys: [String: String] = [:]
  var names = DecoderNames()
  /// Whether the family's own code divides the hidden size by the heads where `head_dim` is missing,
  /// instead of filling the key in when the file is read.
  var derivesHeadSize = false
  /// What it drops in training.
  var dropout: @Sendable (ConfigurationReader) throws(ModelError) -> DropoutRates = {
    (reader) throws(ModelError) in try .decoder(reader)
  }
  /// Sets what is different from Llama.
  var adjust:
    @Sendable (inout DecoderConfiguration, ConfigurationReader) throws(ModelError) -> Void = {
      (_, _) throws(ModelError) in
    }

  /// A reader that knows the family's keys and defaults.
  func reader(_ json: JSON, path: String) -> ConfigurationReader {
    ConfigurationReader(json: json, path: path, defaults: defaults, names: keys)
  }
}
