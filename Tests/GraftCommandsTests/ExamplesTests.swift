import Foundation
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
