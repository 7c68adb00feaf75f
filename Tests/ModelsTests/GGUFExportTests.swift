import Checkpoints
import Foundation
import JSONValues
import Models
import Tensors
import TestSupport
import Testing

/// What is exported as a GGUF file and imported again computes the same; what llama.cpp would read as
/// another model is refused. (scripts/interop/exports.py compares with its own converter's package.)
@Suite struct GGUFExportTests {
  /// A byte-level tokenizer of 40 tokens for the fixtures' vocabulary of 48.
  private static let tokenizer: JSON = {
    let letters = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGH".map { String($0) }
    let byteLevel: JSON = ["type": "ByteLevel", "add_prefix_space": false, "use_regex": true]
    return [
      "version": "1.0", "normalizer": nil, "pre_tokenizer": byteLevel, "decoder": byteLevel,
      "post_processor": nil,
      "added_tokens": [["id": 40, "content": "<end>", "special": true]],
      "model": [
        "type": "BPE", "merges": [],
        "vocab": .object(
          JSONObject(letters.prefix(40).enumerated().map { ($0.element, .integer($0.offset)) })),
      ],
    ]
  }()

  /// A fixture with a tokenizer, and with what llama.cpp takes for granted where `fits`.
  private static func prepare(_ name: String, in directory: String, fits: Bool) throws {
    let source = "\(DecoderGoldenTests.fixtures)/\(name)"
    try FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(
      atPath: directory + "/model.safetensors",
      withDestinationPath: source + "/model.safetensors")
    var config = try #require(try JSON.read(path: source + "/config.json").objectValue)
    if fits, name.hasPrefix("gemma") {
      config["query_pre_attn_scalar"] = config["head_dim"]
      if name == "gemma3" {
        config["layer_types"] = .array(Array(repeating: "sliding_attention", count: 4))
      }
    }
    for (file, json) in [("config", .object(config)), ("tokenizer", tokenizer)] as [(String, JSON)]
    {
      try Data(json.serialized().utf8)
        .write(to: URL(fileURLWithPath: "\(directory)/\(file).json"))
    }
  }

  @Test(
    arguments: DecoderGoldenTests.names.filter {
      // The last one's positions are stretched from another length than Llama 3's.
      !["ministral3", "phi", "llama-rope-llama3"].contains($0)
    })
  func comesBack(_ name: String) throws {
    try withTemporaryDirectory { root in
      let directory = root + "/model"
      try Self.prepare(name, in: directory, fits: true)
      let model = try AutoModelForCausalLM.fromPretrained(directory, dtype: nil)
      let exporter = try GGUFExporter(model, directory: directory, storage: .f32)
      let summary = try exporter.write(to: root + "/model.gguf")
      #expect(summary.isContextCut == (name == "mistral-window"))
      try GGUFImporter.importModel(from: root + "/model.gguf", to: root + "/back")
      let back = try AutoModelForCausalLM.fromPretrained(root + "/back")
      let ids = Tensor([3, 9, 4, 11, 7], shape: [1, 5])
      let (first, second) = (
        model.logits(DecoderInput(ids: ids)), back.logits(DecoderInput(ids: ids))
      )
      if name.hasPrefix("gemma") {
        expectClose(second, first, absolute: 1e-5)  // one more and one less are rounded
      } else {
        #expect(first.isEqual(to: second))
      }
      #expect(back.configuration.endOfTextIDs == Array(model.configuration.endOfTextIDs.prefix(1)))
    }
  }

  @Test(arguments: ["ministral3", "phi", "gemma2", "gemma3"])
  func isRefused(_ name: String) throws {
    try withTemporaryDirectory { directory in
      try Self.prepare(name, in: directory + "/model", fits: false)
      let model = try AutoModelForCausalLM.fromPretrained(directory + "/model", dtype: nil)
      expectRefusal(directory, "GGUF file") {
        try GGUFExporter(model, directory: directory + "/model", storage: .f16)
      }
    }
  }
}
