import Foundation
import JSONValues
import TestSupport
import Testing

/// The examples of README.md run on a tiny model in place of the real one.
///
/// scripts/check-readme holds README.md against the files that run here.
@Suite struct ExamplesTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path

  private func inDirectory(_ body: (String) throws -> Void) throws {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory + "/demo-model")
      try FileManager.default.createSymbolicLink(
        atPath: directory + "/Examples", withDestinationPath: Self.root + "/Examples")
      try body(directory)
    }
  }

  @Test func library() throws {
    try inDirectory { directory in
      let result = try GraftProcess.run([], program: "LibraryExample", directory: directory)
      #expect(result.code == 0, "\(result.errors)")
      #expect(result.output.contains("trainable params: "))
      for name in ["adapter_config.json", "adapter_model.safetensors"] {
        #expect(FileManager.default.fileExists(atPath: "\(directory)/demo-adapter/\(name)"))
      }
    }
  }

  @Test func sequenceToSequence() throws {
    try inDirectory { directory in
      try TinySeq2Seq().write(to: directory + "/demo-t5")
      let result = try GraftProcess.run([], program: "Seq2SeqExample", directory: directory)
      #expect(result.code == 0, "\(result.errors)")
      // LoRA of rank 8 on q and v, each 16 x 16, of 2 + 2 + 2 attentions.
      #expect(result.output.hasPrefix("trainable params: 3,072 || "), "\(result.output)")
      #expect(result.output.split(separator: "\n").count <= 2)
      let config = try JSON.parse(
        Data(contentsOf: URL(fileURLWithPath: directory + "/t5-adapter/adapter_config.json")))
      #expect(config["task_type"]?.stringValue == "SEQ_2_SEQ_LM")
      #expect(config["lora_alpha"]?.intValue == 32)
      #expect(config["r"]?.intValue == 8)
      #expect(FileManager.default.fileExists(atPath: directory + "/t5-run/metrics.jsonl"))
    }
  }

  @Test func shell() throws {
    try inDirectory { directory in
      let products = GraftProcess.productsDirectory.path
      let script = "set -eu; PATH=\"\(products):$PATH\"; . Examples/shell.sh"
      let result = try GraftProcess.run(
        ["-c", script], program: "/bin/sh", directory: directory)
      #expect(result.code == 0, "\(result.errors)")
      #expect(result.output.contains("loss: "))
      for name in ["run/adapter_model.safetensors", "merged/model.safetensors"] {
        #expect(FileManager.default.fileExists(atPath: "\(directory)/\(name)"), "\(name)")
      }
    }
  }
}
