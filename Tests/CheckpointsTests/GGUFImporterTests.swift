import Checkpoints
import Foundation
import JSONValues
import Testing

/// A Llama of one layer: hidden 8, two heads and one key head of 4, feed-forward 6, six tokens.
private struct TinyModel {
  var architecture = "llama"
  var entries: [(key: String, type: UInt32, value: [UInt8])] = []
  var tensors: [(name: String, shape: [Int])] = []

  init(architecture: String = "llama") {
    self.architecture = architecture
    let sizes: [(String, UInt32)] = [
      ("block_count", 1), ("embedding_length", 8), ("feed_forward_length", 6),
      ("context_length", 32), ("attention.head_count", 2), ("attention.head_count_kv", 1),
    ]
    set("general.architecture", text: architecture)
    for (name, size) in sizes { set("\(architecture).\(name)", integer: size) }
    set("\(architecture).attention.layer_norm_rms_epsilon", float: 1e-6)
    set("tokenizer.ggml.model", text: "gpt2")
    set("tokenizer.ggml.pre", text: "smollm")
    set("tokenizer.ggml.tokens", texts: ["<s>", "</s>", "a", "b", "ab", "[PAD5]"])
    set("tokenizer.ggml.token_type", integers: [3, 3, 1, 1, 1, 5])
    set("tokenizer.ggml.merges", texts: ["a b"])
    set("tokenizer.ggml.bos_token_id", integer: 0)
    set("tokenizer.ggml.eos_token_id", integer: 1)
    tensors = [
      ("token_embd.weight", [6, 8]), ("output_norm.weight", [8]),
      ("blk.0.attn_norm.weight", [8]), ("blk.0.attn_q.weight", [8, 8]),
      ("blk.0.attn_k.weight", [4, 8]), ("blk.0.attn_v.weight", [4, 8]),
      ("blk.0.attn_output.weight", [8, 8]), ("blk.0.ffn_norm.weight", [8]),
      ("blk.0.ffn_gate.weight", [6, 8]), ("blk.0.ffn_up.weight", [6, 8]),
      ("blk.0.ffn_down.weight", [8, 6]),
    ]
  }

  mutating func set(_ key: String, type: UInt32, _ value: [UInt8]) {
    remove(key)
    entries.append((key, type, value))
  }
  mutating func remove(_ key: String) { entries.removeAll { $0.key == key } }
  mutating func set(_ key: String, text: String) { set(key, type: 8, GGUFBuilder.text(text)) }
  mutating func set(_ key: String, integer: UInt32) {
    set(key, type: 4, GGUFBuilder.integer(integer))
  }
  mutating func set(_ key: String, flag: Bool) { set(key, type: 7, [flag ? 1 : 0]) }
  mutating func set(_ key: String, float: Float) {
    set(key, type: 6, GGUFBuilder.integer(float.bitPattern))
  }
  mutating func set(_ key: String, texts: [String]) {
    let head = GGUFBuilder.integer(UInt32(8)) + GGUFBuilder.integer(UInt64(texts.count))
    set(key, type: 9, head + texts.flatMap(GGUFBuilder.text))
  }
  mutating func set(_ key: String, integers: [Int32]) {
    let head = GGUFBuilder.integer(UInt32(5)) + GGUFBuilder.integer(UInt64(integers.count))
    set(key, type: 9, head + integers.flatMap(GGUFBuilder.integer))
  }
  mutating func set(_ key: String, floats: [Float]) {
    let head = GGUFBuilder.integer(UInt32(6)) + GGUFBuilder.integer(UInt64(floats.count))
    set(key, type: 9, head + floats.flatMap { GGUFBuilder.integer($0.bitPattern) })
  }

  /// The file, where the elements of every tensor count up from 0 in steps of `scale`.
  func bytes(scale: Float = 1) -> [UInt8] {
    var builder = GGUFBuilder(entries: entries)
    for (name, shape) in tensors {
      builder.tensors.append(
        (name, shape.reversed().map(UInt64.init), 0, UInt64(builder.payload.count)))
      for element in 0..<shape.reduce(1, *) {
        builder.payload += GGUFBuilder.integer((Float(element) * scale).bitPattern)
      }
      builder.payload += [UInt8](repeating: 0, count: (32 - builder.payload.count % 32) % 32)
    }
    return builder.bytes
  }
}

@Suite("GGUF import")
struct GGUFImporterTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func imported(
    _ model: TinyModel, dtype: GGUFImporter.DType = .float32, scale: Float = 1,
    shardLimit: Int = ShardedSafetensorsWriter.defaultShardLimit
  ) throws(CheckpointError) -> GGUFImporter.Summary {
    let path = scratch("model.gguf")
    try AtomicFile.write(path: path, bytes: model.bytes(scale: scale))
    return try GGUFImporter.importModel(
      from: path, to: scratch("out"), dtype: dtype, existing: .replace, shardLimit: shardLimit)
  }

  private func failure(_ model: TinyModel) -> CheckpointError? {
    do throws(CheckpointError) {
      _ = try imported(model)
      return nil
    } catch {
      return error
    }
  }

  private func json(_ name: String) throws -> JSON { try JSON.read(path: scratch("out/\(name)")) }

  private func floats(_ name: String) throws -> [Float] {
    let file = try SafetensorsFile(path: scratch("out/model.safetensors"))
    let entry = try #require(file[name])
    let bytes = file.bytes(of: entry)
    return (0..<entry.elementCount).map {
      bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self)
    }
  }

  @Test("A Llama becomes a directory with all its files; progress counts tensors and bytes")
  func directory() throws {
    let path = scratch("model.gguf")
    try AtomicFile.write(path: path, bytes: TinyModel().bytes())
    var steps: [GGUFImporter.Progress] = []
    let summary = try GGUFImporter.importModel(from: path, to: scratch("out")) { steps.append($0) }
    #expect(
      summary.files == [
        "config.json", "generation_config.json", "model.safetensors", "special_tokens_map.json",
        "tokenizer.json", "tokenizer_config.json",
      ])
    #expect(summary.architecture == "llama" && summary.tensorCount == 11)
    #expect(summary.parameterCount == 408)
    #expect(steps.map(\.completed) == Array(1...11))
    #expect(steps.last?.writtenBytes == 1632 && steps.last?.totalBytes == 1632)
    let config = try json("config.json")
    #expect(config["architectures"] == ["LlamaForCausalLM"])
    #expect(config["rms_norm_eps"] == 1e-6 && config["rope_theta"] == 10000.0)
    #expect(config["head_dim"] == 4 && config["num_key_value_heads"] == 1)
    #expect(config["tie_word_embeddings"] == true && config["vocab_size"] == 6)
    #expect(try json("generation_config.json")["eos_token_id"] == 1)
    #expect(try json("special_tokens_map.json") == ["bos_token": "<s>", "eos_token": "</s>"])
    #expect(try scratch.names() == ["model.gguf", "out"])
  }

  @Test("Rows of q and k of a Llama are put back in the order of two halves, those of Qwen2 stay")
  func rowOrder() throws {
    _ = try imported(TinyModel())
    let rows = stride(from: 0, to: 64, by: 8).map { Float($0) }
    let queries = try floats("model.layers.0.self_attn.q_proj.weight")
    let stored = [0, 2, 1, 3, 4, 6, 5, 7]  // of each head of 4: 0 2 1 3
    #expect(stride(from: 0, to: 64, by: 8).map { queries[$0] } == stored.map { rows[$0] })
    #expect(queries[8..<16].elementsEqual(stride(from: 16, to: 24, by: 1).map { Float($0) }))
    #expect(try floats("model.layers.0.self_attn.k_proj.weight")[8] == 16)
    #expect(try floats("model.layers.0.self_attn.v_proj.weight")[8] == 8)
    var qwen = TinyModel(architecture: "qwen2")
    for name in ["q", "k", "v"] {
      qwen.tensors.append(("blk.0.attn_\(name).bias", [name == "q" ? 8 : 4]))
    }
    _ = try imported(qwen)
    #expect(try floats("model.layers.0.self_attn.q_proj.weight")[8] == 8)
    #expect(try floats("model.layers.0.self_attn.q_proj.bias") == (0..<8).map { Float($0) })
    #expect(try json("config.json")["model_type"] == "qwen2")
    var biased = TinyModel()
    biased.tensors += [
      ("blk.0.attn_q.bias", [8]), ("blk.0.attn_k.bias", [4]), ("blk.0.attn_v.bias", [4]),
      ("blk.0.attn_output.bias", [8]), ("output.weight", [6, 8]),
    ]
    _ = try imported(biased)
    #expect(try floats("model.layers.0.self_attn.q_proj.bias") == stored.map { Float($0) })
    #expect(try json("config.json")["attention_bias"] == true)
    #expect(try json("config.json")["tie_word_embeddings"] == false)
    #expect(try floats("lm_head.weight").count == 48)
  }

  @Test("Weights are rounded to the chosen type; what half precision cannot hold is refused")
  func types() throws {
    _ = try imported(TinyModel(), dtype: .bfloat16, scale: 1.1)
    let file = try SafetensorsFile(path: scratch("out/model.safetensors"))
    let entry = try #require(file["model.embed_tokens.weight"])
    #expect(entry.dtype == .bfloat16)
    let bits = file.bytes(of: entry).loadUnaligned(fromByteOffset: 74, as: UInt16.self)
    #expect(bits == FloatConversion.bfloat16(Float(37) * 1.1))
    #expect(try json("config.json")["torch_dtype"] == "bfloat16")
    do throws(CheckpointError) {
      _ = try imported(TinyModel(), dtype: .float16, scale: 1e5)
      Issue.record("accepted")
    } catch {
      #expect(error.kind == .badData && error.description.contains("float16"))
    }
    // The failed import left the earlier directory whole, and nothing beside it.
    #expect(try json("config.json")["torch_dtype"] == "bfloat16")
    #expect(try scratch.names() == ["model.gguf", "out"])
  }

  @Test("Large models are written in shards with an index")
  func shards() throws {
    let summary = try imported(TinyModel(), shardLimit: 600)
    #expect(summary.files.contains("model.safetensors.index.json"))
    let checkpoint = try SafetensorsCheckpoint(directory: scratch("out"))
    #expect(checkpoint.files.count == 4 && checkpoint.names.count == 11)
  }

  @Test("Position scaling comes from the metadata or from the frequencies of Llama 3")
  func positions() throws {
    var model = TinyModel()
    model.set("llama.rope.freq_base", float: 500_000)
    model.set("llama.rope.scaling.type", text: "linear")
    model.set("llama.rope.scaling.factor", float: 2)
    _ = try imported(model)
    #expect(try json("config.json")["rope_scaling"] == ["rope_type": "linear", "factor": 2.0])
    #expect(try json("config.json")["rope_theta"] == 500_000.0)
    model.set("llama.rope.scaling.type", text: "yarn")
    model.set("llama.rope.scaling.original_context_length", integer: 16)
    _ = try imported(model)
    #expect(
      try json("config.json")["rope_scaling"]
        == ["rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16])
    model.set("llama.rope.scaling.type", text: "longrope")
    #expect(failure(model)?.description.contains("longrope") == true)
    var unknown = TinyModel()
    unknown.tensors.append(("rope_freqs.weight", [2]))  // 0, 1: not those of Llama 3
    #expect(failure(unknown)?.description.contains("rope_freqs") == true)
  }

  @Test("Metadata and tensors that are missing, misplaced or unknown are named")
  func refusals() throws {
    func refused(_ word: String, _ change: (inout TinyModel) -> Void) {
      var model = TinyModel()
      change(&model)
      let error = failure(model)
      #expect(error?.kind == .badData)
      #expect(error?.description.contains(word) == true, "\(word): \(String(describing: error))")
    }
    refused("gptj") { $0.set("general.architecture", text: "gptj") }
    refused("llama.block_count") { $0.remove("llama.block_count") }
    refused("llama.block_count") { $0.set("llama.block_count", integer: .max) }
    refused("llama.context_length") { $0.set("llama.context_length", text: "8") }
    refused("llama.context_length") { $0.set("llama.context_length", integer: 0) }
    refused("experts") { $0.set("llama.expert_count", integer: 8) }
    refused("llama.attention") { $0.set("llama.attention.head_count_kv", integer: 3) }
    refused("dimension_count") { $0.set("llama.rope.dimension_count", integer: .max) }
    refused("value_length") { $0.set("llama.attention.value_length", integer: 2) }
    refused("adapter") { $0.set("general.type", text: "adapter") }
    refused("split into 3") { $0.set("split.count", integer: 3) }
    refused("blk.0.ffn_up.weight") { $0.tensors.removeAll { $0.name == "blk.0.ffn_up.weight" } }
    refused("blk.0.extra") { $0.tensors.append(("blk.0.extra", [2])) }
    refused("[4, 8]") { $0.tensors[3].shape = [4, 8] }
    refused("t5") { $0.set("tokenizer.ggml.model", text: "t5") }
    refused("viking") { $0.set("tokenizer.ggml.pre", text: "viking") }
    refused("tokenizer.ggml.tokens") { $0.remove("tokenizer.ggml.tokens") }
    refused("merges[0]") { $0.set("tokenizer.ggml.merges", texts: ["a c"]) }
    refused("merges[0]") { $0.set("tokenizer.ggml.merges", texts: ["ab"]) }
    refused("also token 2") {
      $0.set("tokenizer.ggml.tokens", texts: ["x", "</s>", "a", "b", "ab", "a"])
    }
    refused("token_type") { $0.set("tokenizer.ggml.token_type", integers: [3]) }
    refused("token_type[1]") {
      $0.set("tokenizer.ggml.token_type", integers: [3, 9, 1, 1, 1, 5])
    }
    refused("bos_token_id") { $0.set("tokenizer.ggml.bos_token_id", integer: 6) }
    refused("add_bos_token") { $0.set("tokenizer.ggml.add_bos_token", text: "yes") }
  }

  @Test("A byte-level tokenizer keeps its rules, special tokens and templates")
  func byteLevel() throws {
    var model = TinyModel()
    model.set("tokenizer.ggml.add_bos_token", flag: true)
    model.set("tokenizer.chat_template", text: "{{ messages }}")
    _ = try imported(model)
    let tokenizer = try json("tokenizer.json")
    #expect(tokenizer["model"]?["vocab"] == ["<s>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4])
    #expect(tokenizer["model"]?["merges"] == [["a", "b"]])
    let steps = tokenizer["pre_tokenizer"]?["pretokenizers"]?.arrayValue?.map { $0["type"] }
    #expect(steps == ["Digits", "ByteLevel"])
    #expect(tokenizer["added_tokens"]?.arrayValue?.map { $0["content"] } == ["<s>", "</s>"])
    #expect(
      tokenizer["post_processor"]?["single"]
        == [
          ["SpecialToken": ["id": "<s>", "type_id": 0]], ["Sequence": ["id": "A", "type_id": 0]],
        ])
    let config = try json("tokenizer_config.json")
    #expect(config["chat_template"] == "{{ messages }}" && config["model_max_length"] == 32)
    #expect(config["bos_token"] == "<s>" && config["tokenizer_class"] == "PreTrainedTokenizerFast")
    model.set("tokenizer.chat_templates", texts: ["tool_use"])
    model.set("tokenizer.chat_template.tool_use", text: "{{ tools }}")
    model.set("tokenizer.ggml.pre", text: "qwen2")
    model.remove("tokenizer.ggml.add_bos_token")
    model.set("tokenizer.ggml.eot_token_id", integer: 4)
    _ = try imported(model)
    #expect(
      try json("tokenizer_config.json")["chat_template"]
        == [
          ["name": "default", "template": "{{ messages }}"],
          ["name": "tool_use", "template": "{{ tools }}"],
        ])
    #expect(try json("tokenizer.json")["normalizer"] == ["type": "NFC"])
    #expect(try json("tokenizer.json")["post_processor"] == JSON.null)
    #expect(try json("generation_config.json")["eos_token_id"] == [1, 4])
    model.set("tokenizer.ggml.pre", text: "llama-bpe")
    _ = try imported(model)
    #expect(try json("tokenizer.json")["model"]?["ignore_merges"] == true)
    #expect(try json("tokenizer.json")["post_processor"]?["type"] == "TemplateProcessing")
  }

  @Test("A SentencePiece tokenizer gets its merges from the scores")
  func sentencePiece() throws {
    var model = TinyModel()
    let tokens = ["<unk>", "<s>", "a", "b", "c", "ab", "bc", "abc", "\u{2581}", "\u{2581}a"]
    model.tensors[0].shape = [10, 8]
    model.set("tokenizer.ggml.model", text: "llama")
    for key in ["pre", "merges"] { model.remove("tokenizer.ggml.\(key)") }
    model.set("tokenizer.ggml.tokens", texts: tokens)
    model.set("tokenizer.ggml.token_type", integers: [2, 3, 1, 1, 1, 1, 1, 1, 1, 1])
    model.set("tokenizer.ggml.scores", floats: [0, 0, 0, 0, 0, -2, -1, -3, 0, -1])
    _ = try imported(model)
    let tokenizer = try json("tokenizer.json")
    #expect(
      tokenizer["model"]?["merges"]
        == [["b", "c"], ["\u{2581}", "a"], ["a", "b"], ["ab", "c"], ["a", "bc"]])
    #expect(tokenizer["model"]?["unk_token"] == "<unk>")
    #expect(tokenizer["model"]?["byte_fallback"] == false)
    #expect(tokenizer["normalizer"]?["normalizers"]?.arrayValue?.count == 2)
    #expect(tokenizer["post_processor"]?["single"]?.arrayValue?.count == 2)
    model.set("tokenizer.ggml.add_space_prefix", flag: false)
    _ = try imported(model)
    #expect(try json("tokenizer.json")["normalizer"]?["normalizers"]?.arrayValue?.count == 1)
    model.set("tokenizer.ggml.scores", floats: [0])
    #expect(failure(model)?.description.contains("tokenizer.ggml.scores") == true)
  }

  @Test("No one of 2 000 damaged models crashes the planning of an import")
  func mutations() throws {
    let original = TinyModel().bytes()
    let path = scratch("model.gguf")
    var generator = SeededGenerator(state: 3)
    var planned = 0
    for _ in 0..<2_000 {
      let bytes = mutated(original, header: original.count - 1700, using: &generator)
      do throws(CheckpointError) {
        let file = try GGUFFile(mapping: MappedFile(copying: bytes, path: path))
        let plan = try GGUFImportPlan(file, dtype: .float32)
        planned += 1
        #expect(plan.texts.count == 5)
      } catch {
        #expect(error.kind == .badData && error.description.contains(path))
      }
    }
    #expect(planned > 10 && planned < 1_600, "\(planned)")
  }
}
