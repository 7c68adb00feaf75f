import Foundation
import Layers
import Models
import Quantization
import Tensors
import TestSupport
import Testing

/// What opening and asking a model with encoder and decoder promises.
@Suite struct EncoderDecoderTests {
  private let t5 = EncoderDecoderGoldenTests.fixtures + "/t5"
  private let flan = EncoderDecoderGoldenTests.fixtures + "/flan-t5"
  private let bart = EncoderDecoderGoldenTests.fixtures + "/bart"

  /// A copy of a fixture with other entries in its configuration.
  private func changed(
    _ fixture: String, _ pairs: [(String, String)], _ body: (String) throws -> Void
  ) throws {
    try withTemporaryDirectory { directory in
      let files = FileManager.default
      for name in ["config.json", "model.safetensors"] {
        try files.copyItem(atPath: "\(fixture)/\(name)", toPath: "\(directory)/\(name)")
      }
      let path = "\(directory)/config.json"
      var text = try String(contentsOfFile: path, encoding: .utf8)
      for (old, new) in pairs {
        #expect(text.contains(old))
        text = text.replacing(old, with: new)
      }
      try text.write(toFile: path, atomically: true, encoding: .utf8)
      try body(directory)
    }
  }

  private func message(_ directory: String, task: ModelTask? = nil) -> String {
    do {
      if let task {
        _ = try AutoModel.fromPretrained(directory, task: task)
      } else {
        _ = try AutoModelForSeq2SeqLM.fromPretrained(directory)
      }
      return ""
    } catch { return "\(error)" }
  }

  @Test func configurations() throws {
    let small = try AutoModelForSeq2SeqLM.configuration(of: t5)
    #expect(small.vocabularySize == 48 && small.hiddenSize == 16)
    #expect(small.encoder.layerCount == 2 && small.decoder.layerCount == 1)
    #expect(small.encoder.headCount == 3 && small.encoder.headSize == 5)
    #expect(small.maximumLength == nil)
    #expect((small.decoderStartID, small.paddingID) == (0, 0))
    #expect(small.endIDs == [1])
    #expect(small.headScale == 0.25)
    let gated = try AutoModelForSeq2SeqLM.configuration(of: flan)
    #expect(gated.headScale == 1)
    let large = try AutoModelForSeq2SeqLM.configuration(of: bart)
    #expect(large.maximumLength == 24)
    #expect(large.embeddingScale == 4)
    #expect((large.decoderStartID, large.paddingID) == (2, 1))
    #expect(large.encoder.headSize == 4 && large.decoder.headSize == 8)
  }

  /// Files before version 5 say by `tie_word_embeddings` whether outputs are scaled.
  @Test func bothDialects() throws {
    try changed(
      flan,
      [
        ("\"scale_decoder_outputs\": false,", ""),
        ("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false"),
        ("\"is_gated_act\": true", "\"torch_dtype\": \"float32\""),
      ]
    ) { directory in
      let old = try AutoModelForSeq2SeqLM.fromPretrained(directory)
      let new = try AutoModelForSeq2SeqLM.fromPretrained(flan)
      let ids = Tensor([Int64](5..<11), shape: [2, 3])
      let input = Seq2SeqInput(ids: ids, decoderIDs: ids)
      #expect(old(input).isEqual(to: new(input)))
      #expect(old.configuration.storedDType == .float32)
    }
    try changed(t5, [("\"scale_decoder_outputs\": true,", "")]) { directory in
      let found = try AutoModelForSeq2SeqLM.configuration(of: directory)
      #expect(found.headScale == 0.25)
    }
  }

  @Test func badConfigurationsAreNamed() throws {
    try changed(t5, [("\"model_type\": \"t5\"", "\"model_type\": \"marian\"")]) { directory in
      let text = message(directory)
      for part in ["\"marian\"", "bart, mt5, t5"] { #expect(text.contains(part), "\(text)") }
    }
    let cases: [(fixture: String, old: String, new: String, part: String)] = [
      (t5, "\"feed_forward_proj\": \"relu\"", "\"feed_forward_proj\": \"gated-snake\"", "snake"),
      (t5, "_num_buckets\": 8", "_num_buckets\": 7", "relative_attention_num_buckets is 7"),
      (t5, "_max_distance\": 6", "_max_distance\": 4", "relative_attention_max_distance is 4"),
      (t5, "\"pad_token_id\": 0", "\"pad_token_id\": null", "pad_token_id"),
      (t5, "\"d_kv\": 5", "\"d_kv\": 6", "SelfAttention.q.weight has shape [15, 16]"),
      (
        bart, "\"encoder_attention_heads\": 4", "\"encoder_attention_heads\": 3",
        "divisor of d_model"
      ),
      (bart, "\"decoder_start_token_id\": 2", "\"decoder_start_token_id\": 48", "decoder_start"),
      (
        bart, "\"activation_function\": \"gelu\"", "\"activation_function\": \"x\"",
        "activation_function"
      ),
      (bart, "_embeddings\": 24", "_embeddings\": 30", "embed_positions.weight has shape [26, 16]"),
    ]
    for (fixture, old, new, part) in cases {
      try changed(fixture, [(old, new)]) { directory in
        let text = message(directory)
        #expect(text.contains(part), "\(new): \(text)")
      }
    }
    #expect(message(bart, task: .tokenClassification).contains("\"bart\" is not supported"))
  }

  @Test func labelsMoveRight() throws {
    let model = try AutoModelForSeq2SeqLM.fromPretrained(bart)
    let labels = Tensor([Int64(7), -100, 9, 4, 5, -100], shape: [2, 3])
    #expect(model.shiftedRight(labels).array(of: Int.self) == [2, 7, 1, 2, 4, 5])
    #expect(EncoderDecoderForConditionalGeneration.targetCount(of: labels) == 4)
    let nothing = Tensor.full([2, 3], -100, dtype: .int64)
    let input = Seq2SeqInput(ids: Tensor([Int64](5..<11), shape: [2, 3]))
    #expect(model.loss(input, labels: nothing).item() == 0)
  }

  @Test func rowsAreChecked() throws {
    let model = try AutoModelForSeq2SeqLM.fromPretrained(bart)
    try model.check([1, 2, 3])
    for row in [[], [48], [-1], Array(repeating: 3, count: 25)] {
      #expect(throws: ModelError.self) { try model.check(row) }
    }
    try AutoModelForSeq2SeqLM.fromPretrained(t5).check(Array(repeating: 3, count: 2000))
    // Rows are classified at their last end.
    let rows = try AutoModelForSequenceClassification.fromPretrained(t5)
    try rows.check([5, 6, 1])
    let error = #expect(throws: ModelError.self) { try rows.check([5, 6, 7]) }
    #expect("\(String(describing: error))".contains("(1)"))
  }

  @Test(
    arguments: [
      ("T5ForConditionalGeneration", ModelTask.seq2seqLM), ("T5EncoderModel", .featureExtraction),
      ("T5Model", .seq2seqLM), ("T5ForSequenceClassification", .sequenceClassification),
      ("T5ForQuestionAnswering", .questionAnswering),
    ] as [(String, ModelTask)]) func theTaskIsThatOfTheArchitecture(
      _ name: String, _ task: ModelTask
    ) throws
  {
    try changed(t5, [("T5ForConditionalGeneration", name)]) {
      let found = try AutoModel.task(of: $0)
      #expect(found == task)
    }
    #expect(ModelTask(adapterType: "SEQ_2_SEQ_LM") == .seq2seqLM)
  }

  /// Head and last layers of T5's MLPs stay dense, as in bitsandbytes.
  @Test(arguments: ["t5", "bart"]) func quantized(_ name: String) throws {
    let directory = "\(EncoderDecoderGoldenTests.fixtures)/\(name)"
    let options = QuantizationOptions(.int8(threshold: 6))
    let model = try AutoModelForSeq2SeqLM.fromPretrained(directory, quantization: options)
    let linear = model.modules().compactMap { entry in
      (entry.module as? Linear).map { (entry.path, $0.projection is DenseProjection) }
    }
    for (path, isDense) in linear {
      #expect(isDense == (path == "lm_head" || path.hasSuffix(".wo")), "\(path)")
    }
    let whole = try AutoModelForSeq2SeqLM.fromPretrained(directory)
    let ids = Tensor([Int64](5..<11), shape: [2, 3])
    let input = Seq2SeqInput(ids: ids, decoderIDs: ids)
    expectClose(model(input), whole(input), absolute: 0.2, relative: 0.1)
  }

  /// transformers' classes of distances for a bidirectional stack of 32 and one that looks back.
  @Test func distanceClasses() {
    let classes = RelativePositions(bucketCount: 32, maximumDistance: 128)
    let both = classes.buckets(length: 301, keyLength: 301, isBidirectional: true)
    // The query in the middle; keys 0, 1, 7, 8, 11, 12, 16, 90, 91 and 150 behind it.
    let middle = both.selected(0, 150).array(of: Int.self)
    #expect(
      [0, 1, 7, 8, 11, 12, 16, 90, 91, 150].map { middle[150 + $0] }
        == [0, 17, 23, 24, 24, 25, 26, 30, 31, 31])
    #expect([1, 7, 8, 12, 91, 150].map { middle[150 - $0] } == [1, 7, 8, 9, 15, 15])
    let back = classes.buckets(length: 1, keyLength: 201, isBidirectional: false)
      .array(of: Int.self)
    #expect(
      [0, 1, 15, 16, 20, 100, 113, 114, 200].map { back[200 - $0] }
        == [0, 1, 15, 16, 17, 30, 31, 31, 31])
    let ahead = classes.buckets(length: 4, keyLength: 4, isBidirectional: false)
    #expect(ahead.array(of: Int.self) == [0, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0, 3, 2, 1, 0])
  }
}
