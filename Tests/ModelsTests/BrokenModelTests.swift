import Checkpoints
import Foundation
import JSONValues
import Models
import Tensors
import TestSupport
import Testing

/// Model directories whose files are changed at random are used or refused by name; what crashes ends
/// the whole test run.
@Suite struct BrokenModelTests {
  /// Configurations of every family, and of kinds of positions that the fixtures do not have.
  private static func configurations() throws -> [(weights: String, json: JSON)] {
    var result: [(String, JSON)] = []
    for (folder, names) in [
      (DecoderGoldenTests.fixtures, DecoderGoldenTests.names),
      (EncoderGoldenTests.fixtures, EncoderGoldenTests.names),
    ] {
      for name in names {
        let directory = "\(folder)/\(name)"
        result.append((directory, try JSON.read(path: directory + "/config.json")))
      }
    }
    let llama = try #require(result.first { $0.0.hasSuffix("/llama") })
    for rope: JSON in [
      ["rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0],
      ["rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0],
      [
        "rope_type": "longrope", "factor": 2.0, "short_factor": [1.0, 2.0],
        "long_factor": [2.0, 3.0], "original_max_position_embeddings": 16,
      ],
    ] {
      var object = try #require(llama.1.objectValue)
      object["rope_parameters"] = nil
      object["rope_theta"] = 10000.0
      object["rope_scaling"] = rope
      if rope["rope_type"] == "linear" {
        object["quantization_config"] = [
          "load_in_8bit": true, "quant_method": "bitsandbytes", "llm_int8_threshold": 6.0,
        ]
      }
      object["id2label"] = ["0": "a", "1": "b"]
      result.append((llama.0, .object(object)))
    }
    return result
  }

  /// Everything that a directory is asked for.
  private static func exercise(_ directory: String) throws {
    let task = try AutoModel.task(of: directory)
    let ids = Tensor([3, 9, 4, 11, 3, 7], shape: [2, 3])
    if task == .causalLM {
      let model = try AutoModelForCausalLM.fromPretrained(directory)
      _ = model.logits(DecoderInput(ids: ids))
      _ = try model.generate(
        prompts: [[3, 9], [5]], maximumNewTokens: 2,
        endOfTextIDs: Set(model.configuration.endOfTextIDs))
      let (generation, _) = try GenerationConfiguration.fromPretrained(directory)
      _ = try model.generate([[3, 9, 4]], TextGeneration(short(generation)))
    } else {
      let model = try AutoModel.fromPretrained(directory, task: task)
      if model.maximumLength >= 3 { _ = model(TaskInput(ids: ids)) }
    }
  }

  /// The same with few tokens and a limit of time.
  private static func short(_ configuration: GenerationConfiguration) -> GenerationConfiguration {
    var result = configuration
    result.maximumNewTokens = min(result.maximumNewTokens ?? 3, 3)
    result.maximumSeconds = 1
    return result
  }

  private static func expectNamed(
    _ error: any Error, in directory: String, _ context: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let message = "\(error)"
    if case .input? = error as? ModelError { return }
    #expect(
      message.contains(directory) || message.hasPrefix("generation:"),
      "\(message) does not name the file: \(context)", sourceLocation: sourceLocation)
    #expect(message.utf8.count < 3000, "\(message.prefix(200))", sourceLocation: sourceLocation)
  }

  @Test func configurationsChangedAtRandom() throws {
    var random = Mutations(seed: 17)
    let configurations = try Self.configurations()
    var refused = 0
    let rounds = 300 * Mutations.factor
    try withTemporaryDirectory { directory in
      for round in 0..<rounds {
        let (weights, json) = configurations[round % configurations.count]
        let link = directory + "/model.safetensors"
        try? FileManager.default.removeItem(atPath: link)
        try FileManager.default.createSymbolicLink(
          atPath: link, withDestinationPath: weights + "/model.safetensors")
        let changed = random.changedFile(json)
        try changed.write(to: URL(fileURLWithPath: directory + "/config.json"))
        let start = ContinuousClock.now
        do {
          try Self.exercise(directory)
        } catch {
          refused += 1
          Self.expectNamed(error, in: directory, String(decoding: changed, as: UTF8.self))
        }
        #expect(ContinuousClock.now - start < .seconds(20))
      }
    }
    #expect(refused > rounds / 10 && refused < rounds)
  }

  /// Every field of `generation_config.json` with a value that it may have.
  private static let generation: JSON = [
    "max_new_tokens": 3, "max_length": 20, "min_length": 1, "min_new_tokens": 1, "max_time": 1.0,
    "stop_strings": ["x"], "do_sample": true, "num_beams": 2, "num_return_sequences": 2,
    "length_penalty": 0.5, "early_stopping": true, "repetition_penalty": 1.1,
    "encoder_repetition_penalty": 1.2, "frequency_penalty": 0.1, "presence_penalty": 0.1,
    "no_repeat_ngram_size": 2, "encoder_no_repeat_ngram_size": 3,
    "exponential_decay_length_penalty": [1, 1.5], "sequence_bias": [[[3, 4], 0.5], [[5], -1.0]],
    "bad_words_ids": [[6], [7, 8]], "remove_invalid_values": true, "suppress_tokens": [9],
    "begin_suppress_tokens": [10], "forced_bos_token_id": 11, "forced_eos_token_id": [2],
    "temperature": 0.7, "top_h": 0.5, "top_k": 20, "top_p": 0.9, "min_p": 0.05, "typical_p": 0.9,
    "epsilon_cutoff": 0.0003, "eta_cutoff": 0.0003, "renormalize_logits": true,
    "eos_token_id": [2, 12], "pad_token_id": 0, "bos_token_id": 1, "decoder_start_token_id": 1,
    "transformers_version": "5.23.0", "use_cache": true,
  ]

  @Test func generationConfigurationsChangedAtRandom() throws {
    var random = Mutations(seed: 23)
    let source = DecoderGoldenTests.fixtures + "/llama"
    let model = try AutoModelForCausalLM.fromPretrained(source)
    var refused = 0
    let rounds = 300 * Mutations.factor
    let all = try #require(Self.generation.objectValue)
    try withTemporaryDirectory { directory in
      try FileManager.default.copyItem(
        atPath: source + "/config.json", toPath: directory + "/config.json")
      for _ in 0..<rounds {
        // Some fields only, so that others than the first rule decide.
        let some = all.filter { _ in random.below(3) == 0 }
        let changed = random.changedFile(.object(JSONObject(some)))
        try changed.write(to: URL(fileURLWithPath: directory + "/generation_config.json"))
        let start = ContinuousClock.now
        do {
          let (configuration, _) = try GenerationConfiguration.fromPretrained(directory)
          _ = try model.generate([[3, 9, 4], [5]], TextGeneration(Self.short(configuration)))
        } catch {
          refused += 1
          Self.expectNamed(error, in: directory, String(decoding: changed, as: UTF8.self))
        }
        #expect(ContinuousClock.now - start < .seconds(20))
      }
    }
    #expect(refused > rounds / 10 && refused < rounds)
  }

  /// Sizes that no machine holds are refused before anything is allocated.
  @Test func sizesBeyondMemory() throws {
    let source = DecoderGoldenTests.fixtures + "/llama"
    let json = try #require(try JSON.read(path: source + "/config.json").objectValue)
    try withTemporaryDirectory { directory in
      try FileManager.default.createSymbolicLink(
        atPath: directory + "/model.safetensors",
        withDestinationPath: source + "/model.safetensors")
      for key in [
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings",
      ] {
        for value: JSON in [1_000_000_000_000_000, 2_147_483_647, 1e15, -1, 0, "16", [16]] {
          guard key != "max_position_embeddings" || value != 2_147_483_647 else { continue }
          var object = json
          object[key] = value
          try Data(JSON.object(object).serialized().utf8)
            .write(to: URL(fileURLWithPath: directory + "/config.json"))
          let mentions = key == "head_dim" || value == 2_147_483_647 ? [] : [key]
          expectRefusal(parts: [directory] + mentions) {
            try AutoModelForCausalLM.fromPretrained(directory)
          }
        }
      }
      // A limit that texts need not reach takes no memory.
      var object = json
      object["max_position_embeddings"] = 2_147_483_647
      try Data(JSON.object(object).serialized().utf8)
        .write(to: URL(fileURLWithPath: directory + "/config.json"))
      let model = try AutoModelForCausalLM.fromPretrained(directory)
      var configuration = GenerationConfiguration()
      configuration.maximumLength = 2_000_000_000
      configuration.maximumSeconds = 0
      let texts = try model.generate([[3, 9]], TextGeneration(configuration))
      #expect(texts[0][0].ids.count >= 1)
    }
  }

  /// Weights that are missing, of another shape or type, or for which the model has no place.
  @Test func weightsThatDoNotFit() throws {
    let source = DecoderGoldenTests.fixtures + "/llama"
    let weights = try SafetensorsFile(path: source + "/model.safetensors").tensors()
    try withTemporaryDirectory { directory in
      try FileManager.default.copyItem(
        atPath: source + "/config.json", toPath: directory + "/config.json")
      func refused(
        _ mentions: [String],
        _ change: ([(name: String, tensor: Tensor)]) -> [(name: String, tensor: Tensor)],
        sourceLocation: SourceLocation = #_sourceLocation
      ) throws {
        try SafetensorsWriter.save(directory + "/model.safetensors", tensors: change(weights))
        expectRefusal(parts: mentions + [directory], sourceLocation: sourceLocation) {
          try AutoModelForCausalLM.fromPretrained(directory)
        }
      }
      for (name, tensor) in weights {
        try refused([name]) { $0.filter { $0.name != name } }
        var shape = tensor.shape
        shape[0] += 1
        let longer = shape
        try refused([name, "\(longer)", "\(tensor.shape)"]) {
          $0.map { $0.name == name ? (name: name, tensor: Tensor.zeros(longer)) : $0 }
        }
        try refused([name, "int64"]) {
          $0.map {
            $0.name == name ? (name: name, tensor: Tensor.zeros(tensor.shape, dtype: .int64)) : $0
          }
        }
      }
      let bias = "model.layers.0.self_attn.q_proj.bias"
      try refused([bias, "attention_bias"]) { $0 + [(bias, Tensor.zeros([16]))] }
      // What no layer of the model would use does no harm.
      let more =
        weights + [
          ("model.layers.0.self_attn.rotary_emb.inv_freq", Tensor.zeros([2])),
          ("model.layers.7.self_attn.q_proj.weight", Tensor.zeros([16, 16])),
        ]
      try SafetensorsWriter.save(directory + "/model.safetensors", tensors: more)
      _ = try AutoModelForCausalLM.fromPretrained(directory)
    }
  }
}
