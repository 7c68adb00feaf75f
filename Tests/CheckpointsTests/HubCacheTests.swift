import Checkpoints
import Foundation
import Testing

@Suite struct HubCacheTests {
  @Test func modelNames() {
    for name in ["HuggingFaceTB/SmolLM2-135M", "a/b_c.d"] { #expect(HubCache.isModelName(name)) }
    for name in ["model", "a/b/c", "/a", "a/", "../a", "./a", "a b/c", "-a/b", ""] {
      #expect(!HubCache.isModelName(name), "\(name)")
    }
  }

  @Test func directoryFromTheEnvironment() {
    func directory(_ environment: [String: String]) -> String {
      HubCache(environment: environment).directory
    }
    #expect(directory(["HF_HUB_CACHE": "/c", "HF_HOME": "/h"]) == "/c")
    #expect(directory(["HF_HOME": "/h"]) == "/h/hub")
    #expect(directory(["HOME": "/u"]) == "/u/.cache/huggingface/hub")
    #expect(directory(["HOME": "/u", "XDG_CACHE_HOME": "/x"]) == "/x/huggingface/hub")
  }

  @Test func snapshots() throws {
    let root = FileManager.default.temporaryDirectory.path + "/hub-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: root) }
    let model = root + "/models--org--name"
    for folder in ["refs", "snapshots/abc"] {
      try FileManager.default.createDirectory(
        atPath: "\(model)/\(folder)", withIntermediateDirectories: true)
    }
    try Data("abc\n".utf8).write(to: URL(fileURLWithPath: model + "/refs/main"))
    let cache = HubCache(directory: root)
    #expect(cache.snapshot(of: "org/name") == model + "/snapshots/abc")
    #expect(cache.snapshot(of: "org/name", revision: "abc") == model + "/snapshots/abc")
    #expect(cache.snapshot(of: "org/name", revision: "other") == nil)
    #expect(cache.snapshot(of: "org/other") == nil)
  }
}
