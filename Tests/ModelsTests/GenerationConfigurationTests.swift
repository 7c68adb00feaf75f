import Foundation
import JSONValues
import Models
import TestSupport
import Testing

@Suite struct GenerationConfigurationTests {
  private func read(
    _ config: JSON, _ generation: JSON?
  ) throws -> (configuration: GenerationConfiguration, unfollowed: [String]) {
    try withTemporaryDirectory { directory in
      func put(_ name: String, _ json: JSON) throws {
        try Data(json.serialized().utf8).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
      }
      try put("config.json", config)
      if let generation { try put("generation_config.json", generation) }
      return try GenerationConfiguration.fromPretrained(directory)
    }
  }

  @Test func filesWinOverOneAnother() throws {
    let alone = try read(["eos_token_id": 2, "pad_token_id": 7, "temperature": 3], nil)
      .configuration
    // Without the other file, older models have settings there.
    #expect(alone.endOfTextIDs == [2] && alone.paddingID == 7 && alone.temperature == 3)
    let both = try read(
      ["eos_token_id": 2, "pad_token_id": 7, "num_beams": 4],
      ["eos_token_id": [5, 6], "pad_token_id": nil, "do_sample": true, "temperature": 0.6]
    ).configuration
    #expect(both.endOfTextIDs == [5, 6] && both.paddingID == 7)
    #expect(both.samples && both.temperature == 0.6 && both.topK == 50)
    #expect(both.beamCount == 1)
  }

  /// Every setting has a place, by its name.
  @Test func everySetting() throws {
    let (c, unfollowed) = try read(
      [:],
      [
        "max_new_tokens": 9, "max_length": 30, "min_length": 3, "min_new_tokens": 2,
        "max_time": 1.5,
        "stop_strings": "halt", "num_beams": 4, "num_return_sequences": 2, "length_penalty": 2,
        "early_stopping": "never", "sequence_bias": [[[1, 2], -1.5]],
        "encoder_repetition_penalty": 1.25, "repetition_penalty": 1.5, "frequency_penalty": 0.5,
        "presence_penalty": 0.25, "no_repeat_ngram_size": 3, "encoder_no_repeat_ngram_size": 4,
        "bad_words_ids": [[5], [6, 7]], "forced_bos_token_id": 8, "forced_eos_token_id": [9, 10],
        "remove_invalid_values": true, "exponential_decay_length_penalty": [5, 1.25],
        "suppress_tokens": [11], "begin_suppress_tokens": [12], "top_h": 0.5, "top_k": 7,
        "top_p": 0.75, "min_p": 0.125, "typical_p": 0.625, "epsilon_cutoff": 0.01,
        "eta_cutoff": 0.02, "renormalize_logits": true, "bos_token_id": 1, "pad_token_id": -1,
        "decoder_start_token_id": 13,
      ])
    var expected = GenerationConfiguration()
    (expected.maximumNewTokens, expected.maximumLength) = (9, 30)
    (expected.minimumLength, expected.minimumNewTokens, expected.maximumSeconds) = (3, 2, 1.5)
    (expected.stopStrings, expected.beamCount, expected.returnCount) = (["halt"], 4, 2)
    (expected.lengthPenalty, expected.earlyStopping) = (2, .never)
    expected.sequenceBias = [.init(ids: [1, 2], bias: -1.5)]
    (expected.encoderRepetitionPenalty, expected.repetitionPenalty) = (1.25, 1.5)
    (expected.frequencyPenalty, expected.presencePenalty) = (0.5, 0.25)
    (expected.noRepeatNGramSize, expected.encoderNoRepeatNGramSize) = (3, 4)
    (expected.badWords, expected.forcedFirstID, expected.forcedLastIDs) = (
      [[5], [6, 7]], 8, [9, 10]
    )
    (expected.removesInvalidValues, expected.endGrowth) = (true, .init(start: 5, factor: 1.25))
    (expected.suppressedIDs, expected.suppressedFirstIDs) = ([11], [12])
    (expected.topH, expected.topK, expected.topP, expected.minP) = (0.5, 7, 0.75, 0.125)
    (expected.typicalP, expected.epsilonCutoff, expected.etaCutoff) = (0.625, 0.01, 0.02)
    (expected.renormalizes, expected.beginningOfTextID, expected.decoderStartID) = (true, 1, 13)
    #expect(c == expected)
    #expect(unfollowed == [])
  }

  @Test func whatIsNotFollowedIsTold() throws {
    let (_, unfollowed) = try read(
      [:],
      [
        "guidance_scale": 1.5, "num_beam_groups": 1, "penalty_alpha": nil, "use_cache": true,
        "transformers_version": "5.23.0", "colour": "red", "token_healing": false,
        "dola_layers": "low",
      ])
    #expect(unfollowed == ["guidance_scale", "colour", "dola_layers"])
  }

  @Test func wrongSettingsAreNamed() throws {
    let wrong: [(String, JSON)] = [
      ("top_p", 1.5), ("top_p", "much"), ("top_k", -1), ("top_k", 2.5), ("min_p", -0.1),
      ("temperature", -1), ("repetition_penalty", 0), ("num_beams", 0), ("early_stopping", "soon"),
      ("eos_token_id", [1, -2]), ("eos_token_id", "end"), ("bad_words_ids", [[1, "a"]]),
      ("sequence_bias", [[[1], 2, 3]]), ("exponential_decay_length_penalty", [1]),
      ("stop_strings", ["a", ""]), ("stop_strings", [1]), ("max_new_tokens", 0),
      ("num_return_sequences", 2), ("typical_p", 0), ("do_sample", 1),
    ]
    for (key, value) in wrong {
      let file = JSON.object(JSONObject([(key, value)]))
      let error = #expect(throws: ModelError.self) { try read([:], file) }
      guard case .configuration(let path, let found, _, _)? = error else {
        Issue.record("\(key): \(value)")
        continue
      }
      #expect(found == key && path.hasSuffix("generation_config.json"))
    }
    #expect(throws: ModelError.self) { try read([:], ["num_beams": 2, "num_return_sequences": 3]) }
    #expect(throws: ModelError.self) {
      try read([:], ["suppress_tokens": [4], "forced_eos_token_id": 4])
    }
    #expect(throws: (any Error).self) { try read([:], [1]) }
  }

  @Test func idsOutsideTheVocabularyAreErrors() throws {
    let model = try AutoModelForCausalLM.fromPretrained(testDirectory() + "/Fixtures/llama")
    var c = GenerationConfiguration()
    c.badWords = [[3, 48]]
    #expect(throws: ModelError.self) { try model.generate([[1]], TextGeneration(c)) }
    c.badWords = []
    // These forbid nothing, fill nothing and end nothing.
    (c.endOfTextIDs, c.suppressedIDs, c.paddingID) = ([99], [99], 77)
    #expect(
      try model.generate([[1, 2], [3]], TextGeneration(c)).map { $0[0].ids.count } == [20, 20])
  }
}
