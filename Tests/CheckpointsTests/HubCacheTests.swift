import Checkpoints
import Foundation
import Testing

@Suite struct HubCacheTests {
  /// A model in a cache as Python's programs lay it out.
  private func with(
    _ files: [String], marked: [String] = [], _ body: (HubCache, String) throws -> Void
  ) throws {
    let scratch = try Scratch()
    let model = scratch("models--org--name")
    func write(_ path: String, _ text: String = "") throws {
      let url = URL(fileURLWithPath: "\(model)/\(path)")
      try FileManager.default.createDirectory(
        at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: url)
    }
    try write("refs/main", "abc\n")
    for file in files {
      let isIndex = file.hasSuffix("index.json")
      try write(
        "snapshots/abc/\(file)",
        isIndex ? #"{"weight_map": {"w": "a.safetensors", "v": "b.safetensors"}}"# : "x")
    }
    for file in marked { try write(".no_exist/abc/\(file)") }
    try body(HubCache(directory: scratch.path), "\(model)/snapshots/abc")
  }

  private let model: HubModelName

  init() throws { model = try #require(HubModelName("org/name")) }

  @Test func snapshotsByBranchAndByCommit() throws {
    try with(["config.json"]) { cache, directory in
      #expect(cache.snapshot(of: "org/name") == directory)
      #expect(cache.snapshot(of: "org/name", revision: "abc") == directory)
      #expect(cache.snapshot(of: "org/name", revision: "other") == nil)
      #expect(cache.snapshot(of: "org/other") == nil)
    }
  }

  @Test func aReferenceThatClimbsIsNotFollowed() throws {
    try with(["config.json"]) { cache, directory in
      let reference = URL(fileURLWithPath: directory + "/../../refs/main")
      try Data("../../..".utf8).write(to: reference)
      #expect(cache.snapshot(of: "org/name") == nil)
    }
  }

  @Test func whatAModelLacks() throws {
    try with(["config.json", "model.safetensors"]) { cache, _ in
      #expect(cache.lacking(model, .model) == nil)
      #expect(cache.lacking(model, .any) == nil)
      #expect(cache.lacking(model, .adapter) == "adapter_config.json is not")
      let other = try #require(HubModelName("org/name", revision: "v2"))
      #expect(cache.lacking(other, .model) == "the model is not")
    }
    try with(["config.json"]) { cache, _ in
      #expect(cache.lacking(model, .model) == "model.safetensors is not")
    }
    try with(["config.json", "model.safetensors.index.json", "a.safetensors"]) { cache, _ in
      #expect(cache.lacking(model, .model) == "b.safetensors is not")
    }
    try with(["adapter_config.json", "adapter_model.safetensors"]) { cache, _ in
      #expect(cache.lacking(model, .adapter) == nil)
      #expect(cache.isComplete(model, .any))
    }
  }

  @Test func aModelIsCompleteWithItsTokenizerOrAMarkThatThereIsNone() throws {
    let weights = ["config.json", "model.safetensors"]
    try with(weights) { cache, _ in #expect(!cache.isComplete(model, .model)) }
    try with(weights + ["tokenizer.json"]) { cache, _ in #expect(cache.isComplete(model, .model)) }
    try with(weights, marked: ["tokenizer.json"]) { cache, _ in
      #expect(cache.isComplete(model, .model))
    }
  }
}
