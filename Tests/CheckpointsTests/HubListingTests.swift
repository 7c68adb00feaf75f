import Checkpoints
import JSONValues
import Testing

private let sha256 = String(repeating: "0a", count: 32)
private let sha1 = String(repeating: "0b", count: 20)

@Suite struct HubListingTests {
  private func listing(_ names: [String], _ more: [JSON] = []) throws -> HubListing {
    let siblings = names.map { JSON.object(JSONObject([("rfilename", .string($0))])) } + more
    return try HubListing(["sha": "c0ffee", "siblings": .array(siblings)], url: "here")
  }

  private func paths(_ names: [String], _ contents: HubContents) throws -> [String] {
    let model = try #require(HubModelName("org/name"))
    return try HubSelection.files(of: try listing(names), contents, model: model).map(\.path)
  }

  @Test func sizesAndChecksums() throws {
    let found = try listing(
      ["plain"],
      [
        ["rfilename": "small", "size": 5, "blobId": .string(sha1)],
        [
          "rfilename": "large", "size": 134, "blobId": .string(sha1),
          "lfs": ["sha256": .string(sha256), "size": 900, "pointerSize": 134],
        ],
        ["rfilename": "odd", "size": -1, "blobId": "../../x"],
      ])
    #expect(found.commit == "c0ffee")
    #expect(
      found.files == [
        HubFile(path: "plain"), HubFile(path: "small", size: 5, digest: .gitBlob(sha1)),
        HubFile(path: "large", size: 900, digest: .sha256(sha256)), HubFile(path: "odd"),
      ])
    #expect(found.files.map(\.blob) == [nil, sha1, sha256, nil])
  }

  @Test func pathsThatClimbAreLeftOut() throws {
    let found = try listing(["../a", "/b", "c/../d", "e//f", "", "g\\h", "i/j", "./k"])
    #expect(found.files.map(\.path) == ["i/j"])
  }

  @Test func answersThatMakeNoSense() {
    let bad: [JSON] = [
      ["siblings": []], ["sha": "../x", "siblings": []], ["sha": "a"], ["sha": 1, "siblings": []],
      [],
    ]
    for json in bad {
      #expect(throws: HubError.self) { try HubListing(json, url: "here") }
    }
  }

  @Test func whatIsFetchedOfAModel() throws {
    let small = ["config.json", "tokenizer.json", "chat_template.jinja"]
    let others = ["README.md", "pytorch_model.bin", "flax_model.msgpack", "onnx/model.onnx"]
    let template = "additional_chat_templates/tools.jinja"
    #expect(
      try Set(paths(small + others + [template, "model.safetensors"], .any))
        == Set(small + [template, "model.safetensors"]))
    let index = "model.safetensors.index.json"
    #expect(try paths(small + [index, "model-1.safetensors"], .model).last == index)
    // The single file wins, as it does where a directory is opened.
    #expect(try !paths(small + [index, "model.safetensors"], .model).contains(index))
  }

  @Test func whatIsFetchedOfAnAdapter() throws {
    let adapter = ["adapter_config.json", "adapter_model.safetensors"]
    #expect(try paths(adapter + ["README.md", "adapter_model.bin"], .any) == adapter)
    let model = ["config.json", "model.safetensors"]
    #expect(
      try paths(adapter + model, .any) == ["config.json"] + ["adapter_config.json"]
        + ["model.safetensors", "adapter_model.safetensors"])
    #expect(throws: HubError.self) { try paths(model, .adapter) }
    #expect(throws: HubError.self) { try paths(adapter, .model) }
  }

  @Test func picklesAreRefusedWithAReasonAndAWayOut() throws {
    let names = ["config.json", "pytorch_model-1.bin", "pytorch_model-2.bin"]
    let error = #expect(throws: HubError.self) { try paths(names, .any) }
    #expect(error == .onlyPickle(model: "org/name", files: Array(names.dropFirst())))
    let text = error.map { "\($0)" } ?? ""
    for word in ["pytorch_model-1.bin", "runs", "safetensors", "graft download org/name@refs/pr/N"]
    {
      #expect(text.contains(word), "\(text)")
    }
    #expect(throws: HubError.onlyPickle(model: "org/name", files: ["adapter_model.bin"])) {
      try paths(["adapter_config.json", "adapter_model.bin"], .any)
    }
    let gguf = #expect(throws: HubError.self) { try paths(["config.json", "q4.gguf"], .any) }
    #expect(gguf.map { "\($0)".contains("q4.gguf") } == true)
  }

  @Test func headersOfAMirror() {
    func described(_ headers: [String: String], isRedirect: Bool = false) -> HubFile {
      HubBatch.described(
        HubFile(path: "f"), headers, commit: "abc", isRedirect: isRedirect)
    }
    let linked = described(
      [
        "x-linked-etag": "\"\(sha256)\"", "etag": "\"x\"", "x-linked-size": "9",
        "content-length": "1",
      ],
      isRedirect: true)
    #expect(linked == HubFile(path: "f", size: 9, digest: .sha256(sha256)))
    let own = described(["etag": "W/\"\(sha1)\"", "content-length": "7"])
    #expect(own == HubFile(path: "f", size: 7, digest: .gitBlob(sha1)))
    #expect(
      described(["etag": "\"\(sha1)\"", "content-length": "7"], isRedirect: true).size == nil)
    let odd = described(["etag": "\"a/../b\""])
    #expect(odd.digest == nil && odd.blob == "tag-abc-f-a-..-b")
    #expect(described([:]).blob == nil)
  }
}
