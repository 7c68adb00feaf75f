import Checkpoints
import Foundation
import Testing

@Suite struct HubEnvironmentTests {
  @Test func cacheDirectory() {
    func directory(_ variables: [String: String]) -> String {
      HubCache(environment: variables).directory
    }
    #expect(directory(["HF_HUB_CACHE": "/c", "HF_HOME": "/h"]) == "/c")
    #expect(directory(["HUGGINGFACE_HUB_CACHE": "/c", "HF_HOME": "/h"]) == "/c")
    #expect(directory(["HF_HOME": "/h"]) == "/h/hub")
    #expect(directory(["HOME": "/u", "HF_HOME": ""]) == "/u/.cache/huggingface/hub")
    #expect(directory(["HOME": "/u", "XDG_CACHE_HOME": "/x"]) == "/x/huggingface/hub")
    #expect(directory(["HOME": "/u", "HF_HOME": "~/hf"]) == "/u/hf/hub")
    #expect(
      directory(["HF_HOME": "$DISK/${WHO}/$NONE", "DISK": "/d", "WHO": "me"]) == "/d/me/$NONE/hub")
  }

  @Test func offline() {
    func isOffline(_ variables: [String: String]) -> Bool { HubEnvironment(variables).isOffline }
    #expect(!isOffline([:]))
    for value in ["1", "on", "YES", "True"] { #expect(isOffline(["HF_HUB_OFFLINE": value])) }
    for value in ["0", "no", "2"] { #expect(!isOffline(["HF_HUB_OFFLINE": value])) }
    #expect(isOffline(["TRANSFORMERS_OFFLINE": "1"]))
    #expect(!isOffline(["TRANSFORMERS_OFFLINE": "1", "HF_HUB_OFFLINE": "0"]))
  }

  @Test func tokens() throws {
    let scratch = try Scratch()
    _ = try scratch.file("token", Array("hf_file\n".utf8))
    let other = try scratch.file("other", Array(" hf_other ".utf8))
    func token(_ more: [String: String]) throws -> String? {
      try HubEnvironment(["HF_HOME": scratch.path].merging(more) { $1 }).token()
    }
    #expect(try token([:]) == "hf_file")
    #expect(try token(["HF_TOKEN_PATH": other]) == "hf_other")
    #expect(try token(["HF_TOKEN": "hf_own"]) == "hf_own")
    #expect(try token(["HUGGING_FACE_HUB_TOKEN": "hf_older"]) == "hf_older")
    #expect(try token(["HF_TOKEN": "hf_own", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"]) == nil)
    #expect(try token(["HF_TOKEN_PATH": scratch("none")]) == nil)
    #expect(throws: HubError.token(source: "HF_TOKEN")) { try token(["HF_TOKEN": "a b"]) }
    let error = HubError.token(source: "HF_TOKEN")
    #expect(!"\(error)".contains("a b"))
  }

  @Test func endpoints() throws {
    #expect(try HubEnvironment([:]).endpoint().address == "https://huggingface.co")
    let mirror = try HubEnvironment(["HF_ENDPOINT": "http://host:8/hub//"]).endpoint()
    #expect(mirror.address == "http://host:8/hub")
    for text in ["ftp://x", "host", "http://", "http://x?a"] {
      #expect(throws: HubError.endpoint(text)) {
        try HubEnvironment(["HF_ENDPOINT": text]).endpoint()
      }
    }
  }

  @Test func addressesAreEscaped() throws {
    let endpoint = try HubEnvironment(["HF_ENDPOINT": "http://h"]).endpoint()
    let model = try #require(HubModelName("a/b@refs/pr/1"))
    #expect(
      try endpoint.listing(of: model).absoluteString
        == "http://h/api/models/a/b/revision/refs%2Fpr%2F1?blobs=true")
    #expect(
      try endpoint.file("x/ä b?.json", of: "a/b", commit: "c").absoluteString
        == "http://h/a/b/resolve/c/x/%C3%A4%20b%3F.json")
  }

  @Test func theTokenBelongsToOneOrigin() throws {
    let endpoint = try HubEnvironment(["HF_ENDPOINT": "https://hub.example/x"]).endpoint()
    for (text, isOwn) in [
      ("https://hub.example/y", true), ("https://HUB.example:443/", true),
      ("https://hub.example:444/", false), ("http://hub.example/", false),
      ("https://cdn.hub.example/", false), ("https://hub.example.evil/", false),
    ] {
      let url = try #require(URL(string: text))
      #expect(endpoint.owns(url) == isOwn, "\(text)")
    }
  }
}
