import Foundation
import JSONValues

extension GenerationConfiguration {
  /// Reads what a model directory says of generation.
  ///
  /// `generation_config.json` wins; token ids that it does not name are those of `config.json`. Where
  /// there is no such file, `config.json` is asked for all settings, as older models have them there.
  ///
  /// - Parameter directory: A Hugging Face directory.
  /// - Returns: The configuration, and names of settings of the file that are not followed.
  /// - Throws: ``ModelError`` or `JSONError` when a file is malformed; ``ModelError`` for settings that
  ///   exclude each other.
  public static func fromPretrained(
    _ directory: String
  ) throws -> (configuration: GenerationConfiguration, unfollowed: [String]) {
    var configuration = GenerationConfiguration()
    let model = directory + "/config.json"
    let json = try JSON.read(path: model)
    let path = directory + "/generation_config.json"
    guard FileManager.default.fileExists(atPath: path) else {
      var own: [(key: String, value: JSON)] = []
      for field in Self.fields {
        if let value = json[field.name] ?? json["text_config"]?[field.name] {
          own.append((field.name, value))
        }
      }
      _ = try configuration.take(.object(JSONObject(own)), path: model)
      try configuration.validate(path: model)
      return (configuration, [])
    }
    var ids: [(key: String, value: JSON)] = []
    for key in [
      "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id",
      "forced_bos_token_id", "forced_eos_token_id",
    ] {
      if let value = json[key] ?? json["text_config"]?[key] { ids.append((key, value)) }
    }
    _ = try configuration.take(.object(JSONObject(ids)), path: model)
    let unfollowed = try configuration.take(try JSON.read(path: path), path: path)
    try configuration.validate(path: path)
    return (configuration, unfollowed)
  }

  /// Checks that settings go together.
  ///
  /// - Parameter path: Where they stand, for errors.
  /// - Throws: ``ModelError/configuration(path:key:expected:actual:)`` naming what does not.
  public func validate(path: String = "generation") throws(ModelError) {
    func wrong(_ key: String, _ expected: String, _ actual: String) -> ModelError {
      .configuration(path: path, key: key, expected: expected, actual: actual)
    }
    if returnCount > 1 {
      if beamCount == 1, !samples {
        throw wrong(
          "num_return_sequences", "1 without do_sample and num_beams", "\(returnCount)")
      }
      if beamCount > 1, returnCount > beamCount {
        throw wrong("num_return_sequences", "at most num_beams, \(beamCount)", "\(returnCount)")
      }
    }
    if samples, !(temperature > 0) {
      throw wrong("temperature", "a positive number with do_sample", "\(temperature)")
    }
    if let maximumNewTokens, minimumNewTokens > maximumNewTokens {
      throw wrong(
        "min_new_tokens", "at most max_new_tokens, \(maximumNewTokens)", "\(minimumNewTokens)")
    }
    let suppressed = Set(suppressedIDs)
    for (key, ids) in [
      ("forced_bos_token_id", forcedFirstID.map { [$0] } ?? []),
      ("forced_eos_token_id", forcedLastIDs),
    ] where !ids.isEmpty && suppressed.isSuperset(of: ids) {
      throw wrong(key, "a token that suppress_tokens does not forbid", "\(ids)")
    }
  }

  /// Checks that token ids are those of a model.
  ///
  /// - Parameter vocabularySize: Tokens of the model's vocabulary.
  /// - Throws: ``ModelError/configuration(path:key:expected:actual:)`` naming the first that is not.
  func checkIDs(vocabularySize: Int) throws(ModelError) {
    let named: [(String, [Int])] = [
      ("sequence_bias", sequenceBias.flatMap(\.ids)), ("bad_words_ids", badWords.flatMap { $0 }),
      ("forced_bos_token_id", forcedFirstID.map { [$0] } ?? []),
      ("forced_eos_token_id", forcedLastIDs),
    ]
    for (key, ids) in named {
      if let bad = ids.first(where: { $0 < 0 || $0 >= vocabularySize }) {
        throw .configuration(
          path: "generation", key: key, expected: "token ids below \(vocabularySize)",
          actual: "\(bad)")
      }
    }
  }
}
