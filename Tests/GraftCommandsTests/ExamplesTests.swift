import Foundation
import TestSupport
import Testing

/// The examples of README.md run as they stand there, on a tiny model in place of the real one.
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

  /// README.md shows exactly the files that ran.
  @Test func readmeShowsWhatRuns() throws {
    let readme = try String(contentsOfFile: Self.root + "/README.md", encoding: .utf8)
    for path in ["Examples/library/main.swift", "Examples/shell.sh"] {
      let text = try String(contentsOfFile: "\(Self.root)/\(path)", encoding: .utf8)
        .split(separator: "\n", omittingEmptySubsequences: false)
        .filter { !$0.hasPrefix("#!") }.joined(separator: "\n")
      #expect(readme.contains("<!-- example: \(path) -->"))
      #expect(readme.contains(text), "\(path)")
    }
  }
}
