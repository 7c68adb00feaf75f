public import JSONValues

extension GenerationConfiguration {
  /// A setting as `generation_config.json` spells it.
  struct Field: Sendable {
    let name: String
    let read:
      @Sendable (inout GenerationConfiguration, ConfigurationReader, String) throws(ModelError) ->
        Void

    private init(
      _ name: String,
      _ read:
        @escaping @Sendable (inout GenerationConfiguration, ConfigurationReader, String)
        throws(ModelError) -> Void
    ) {
      self.name = name
      self.read = read
    }
  }

  /// Settings that change what is written.
  static let fields: [Field] =
    Field.lengths + Field.choices + Field.penalties + Field.forbidden + Field.drawing + Field.tokens

  /// Settings that say how to compute or what to return, never what is written.
  static let ignored: Set<String> = [
    "use_cache", "cache_implementation", "cache_config", "max_cache_len", "output_attentions",
    "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate",
    "compile_config", "disable_compile", "prefill_chunk_size", "low_memory", "transformers_version",
    "_from_model_config", "_commit_hash", "is_assistant", "num_assistant_tokens",
    "num_assistant_tokens_schedule", "assistant_confidence_threshold", "assistant_lookbehind",
    "target_lookbehind", "continuous_batching_config", "speculation_type", "use_mtp",
    "prompt_lookup_num_tokens", "max_matching_ngram_size", "assistant_early_exit",
  ]

  /// Values of settings that are not there yet which ask for nothing.
  static let neutral: [String: [JSON]] = [
    "guidance_scale": [1, 1.0], "watermarking_config": [], "token_healing": [false],
    "penalty_alpha": [0, 0.0], "dola_layers": [], "diversity_penalty": [0, 0.0],
    "num_beam_groups": [1], "constraints": [], "force_words_ids": [],
    "assistant_ensemble_weight": [],
  ]

  /// Takes over settings by the names of `generation_config.json`; null is for the default.
  ///
  /// - Parameters:
  ///   - json: An object.
  ///   - path: Where it stands, for errors.
  /// - Returns: Settings that are not followed: unknown ones, and known ones that are not there yet.
  /// - Throws: ``ModelError/configuration(path:key:expected:actual:)`` naming what is wrong.
  public mutating func take(_ json: JSON, path: String) throws(ModelError) -> [String] {
    guard let object = json.objectValue else {
      throw .configuration(
        path: path, key: "the file", expected: "a JSON object",
        actual: String(json.serialized().prefix(40)))
    }
    let reader = ConfigurationReader(json: json, path: path)
    var left = Set(object.keys)
    for field in Self.fields where left.remove(field.name) != nil && reader.has(field.name) {
      try field.read(&self, reader, field.name)
    }
    left.subtract(Self.ignored)
    return object.keys.filter { key in
      guard left.contains(key), let value = object[key], !value.isNull else { return false }
      return !(Self.neutral[key]?.contains(value) ?? false)
    }
  }
}

extension GenerationConfiguration.Field {
  private typealias Path<Value> = any WritableKeyPath<GenerationConfiguration, Value> & Sendable

  private static func count(
    _ name: String, _ path: Path<Int>, least: Int = 0, most: Int = largestCount
  ) -> Self {
    Self(name) { (c, reader, key) throws(ModelError) in
      c[keyPath: path] = try reader.whole(key, least: least, most: most)
    }
  }

  /// Texts of one prompt that are followed at once: each takes a cache of its own.
  private static let copyLimit = 4096
  /// The largest number that is taken from a file, so that sums of two do not overflow.
  fileprivate static let largestCount = 1 << 31 - 1

  private static func count(_ name: String, _ path: Path<Int?>, least: Int = 0) -> Self {
    Self(name) { (c, reader, key) throws(ModelError) in
      c[keyPath: path] = try reader.whole(key, least: least)
    }
  }

  private static func number(
    _ name: String, _ path: Path<Double>, _ range: @escaping @Sendable (Double) -> Bool,
    _ expected: String
  ) -> Self {
    Self(name) { (c, reader, key) throws(ModelError) in
      c[keyPath: path] = try reader.number(key, where: range, expected)
    }
  }

  private static func number(
    _ name: String, _ path: Path<Double?>, _ range: @escaping @Sendable (Double) -> Bool,
    _ expected: String
  ) -> Self {
    Self(name) { (c, reader, key) throws(ModelError) in
      c[keyPath: path] = try reader.number(key, where: range, expected)
    }
  }

  private static func flag(_ name: String, _ path: Path<Bool>) -> Self {
    Self(name) { (c, reader, key) throws(ModelError) in
      c[keyPath: path] = try reader.flag(key)
    }
  }

  private static func ids(_ name: String, _ path: Path<[Int]>) -> Self {
    Self(name) { (c, reader, key) throws(ModelError) in
      c[keyPath: path] = try reader.tokens(reader.value(key) ?? .null, key)
    }
  }

  fileprivate static let lengths: [Self] = [
    count("max_new_tokens", \.maximumNewTokens, least: 1),
    count("max_length", \.maximumLength, least: 1), count("min_length", \.minimumLength),
    count("min_new_tokens", \.minimumNewTokens),
    number("max_time", \.maximumSeconds, { $0 >= 0 }, "seconds, 0 or more"),
    Self("stop_strings") { (c, reader, key) throws(ModelError) in
      if let one = reader.value(key)?.stringValue {
        c.stopStrings = [one]
      } else {
        c.stopStrings = try reader.strings(key) ?? []
      }
      guard !c.stopStrings.contains("") else { throw reader.wrong(key, "texts that are not empty") }
    },
  ]

  fileprivate static let choices: [Self] = [
    flag("do_sample", \.samples), count("num_beams", \.beamCount, least: 1, most: copyLimit),
    count("num_return_sequences", \.returnCount, least: 1, most: copyLimit),
    number("length_penalty", \.lengthPenalty, { $0.isFinite }, "a number"),
    Self("early_stopping") { (c, reader, key) throws(ModelError) in
      switch reader.value(key) {
      case .bool(let flag)?: c.earlyStopping = flag ? .whenFull : .heuristic
      case .string("never")?: c.earlyStopping = .never
      default: throw reader.wrong(key, "true, false or \"never\"")
      }
    },
  ]

  fileprivate static let penalties: [Self] = [
    number("repetition_penalty", \.repetitionPenalty, { $0 > 0 }, "a positive number"),
    number(
      "encoder_repetition_penalty", \.encoderRepetitionPenalty, { $0 > 0 }, "a positive number"),
    number("frequency_penalty", \.frequencyPenalty, { $0.isFinite }, "a number"),
    number("presence_penalty", \.presencePenalty, { $0.isFinite }, "a number"),
    count("no_repeat_ngram_size", \.noRepeatNGramSize),
    count("encoder_no_repeat_ngram_size", \.encoderNoRepeatNGramSize),
    Self("exponential_decay_length_penalty") { (c, reader, key) throws(ModelError) in
      let pair = reader.value(key)?.arrayValue ?? []
      guard pair.count == 2, let start = pair[0].doubleValue.flatMap({ Int(exactly: $0) }),
        start >= 0, let factor = pair[1].doubleValue, factor.isFinite
      else { throw reader.wrong(key, "a list of a start in tokens and a factor") }
      c.endGrowth = EndGrowth.Settings(start: start, factor: factor)
    },
    Self("sequence_bias") { (c, reader, key) throws(ModelError) in
      c.sequenceBias = try reader.biases(key)
    },
  ]

  fileprivate static let forbidden: [Self] = [
    Self("bad_words_ids") { (c, reader, key) throws(ModelError) in
      guard let words = reader.value(key)?.arrayValue else {
        throw reader.wrong(key, "a list of lists of token ids")
      }
      c.badWords = []
      for word in words where word.arrayValue != [] {
        c.badWords.append(try reader.tokens(word, key))
      }
    },
    flag("remove_invalid_values", \.removesInvalidValues),
    ids("suppress_tokens", \.suppressedIDs), ids("begin_suppress_tokens", \.suppressedFirstIDs),
    count("forced_bos_token_id", \.forcedFirstID), ids("forced_eos_token_id", \.forcedLastIDs),
  ]

  fileprivate static let drawing: [Self] = [
    number("temperature", \.temperature, { $0 >= 0 && $0.isFinite }, "0 or a positive number"),
    number("top_h", \.topH, { $0 > 0 && $0 <= 1 }, "above 0 and at most 1"),
    count("top_k", \.topK), number("top_p", \.topP, { $0 >= 0 && $0 <= 1 }, "from 0 to 1"),
    number("min_p", \.minP, { $0 >= 0 && $0 <= 1 }, "from 0 to 1"),
    number("typical_p", \.typicalP, { $0 > 0 && $0 <= 1 }, "above 0 and at most 1"),
    number("epsilon_cutoff", \.epsilonCutoff, { $0 >= 0 && $0 < 1 }, "from 0 to below 1"),
    number("eta_cutoff", \.etaCutoff, { $0 >= 0 && $0 < 1 }, "from 0 to below 1"),
    flag("renormalize_logits", \.renormalizes),
  ]

  fileprivate static let tokens: [Self] = [
    ids("eos_token_id", \.endOfTextIDs),
    Self("pad_token_id") { (c, reader, key) throws(ModelError) in
      // Some files say -1 for none.
      let id = try reader.whole(key, least: -largestCount)
      c.paddingID = id < 0 ? nil : id
    },
    count("bos_token_id", \.beginningOfTextID), count("decoder_start_token_id", \.decoderStartID),
  ]
}

extension ConfigurationReader {
  fileprivate func whole(
    _ key: String, least: Int, most: Int = GenerationConfiguration.Field.largestCount
  ) throws(ModelError) -> Int {
    guard let number = value(key)?.doubleValue.flatMap({ Int(exactly: $0) }),
      (least...most).contains(number)
    else { throw wrong(key, "a whole number from \(least) to \(most)") }
    return number
  }

  fileprivate func number(
    _ key: String, where range: (Double) -> Bool, _ expected: String
  ) throws(ModelError) -> Double {
    guard let number = value(key)?.doubleValue, range(number) else { throw wrong(key, expected) }
    return number
  }

  /// A token id or a list of them.
  fileprivate func tokens(_ json: JSON, _ key: String) throws(ModelError) -> [Int] {
    let list = json.arrayValue ?? [json]
    let ids = list.compactMap(\.intValue)
    guard ids.count == list.count, ids.allSatisfy({ (0..<1 << 31).contains($0) }) else {
      throw wrong(key, "token ids")
    }
    return ids
  }

  /// A list of pairs of token ids and a number.
  fileprivate func biases(_ key: String) throws(ModelError) -> [SequenceBias.Entry] {
    let expected = "a list of pairs of token ids and a number"
    guard let pairs = value(key)?.arrayValue else { throw wrong(key, expected) }
    var entries: [SequenceBias.Entry] = []
    for pair in pairs {
      guard let parts = pair.arrayValue, parts.count == 2, let bias = parts[1].doubleValue,
        !bias.isNaN, parts[0].arrayValue != [], parts[0].arrayValue != nil
      else { throw wrong(key, expected) }
      entries.append(.init(ids: try tokens(parts[0], key), bias: bias))
    }
    return entries
  }
}
