import Checkpoints
import Testing

@Suite struct HubModelNameTests {
  @Test func names() {
    for name in ["HuggingFaceTB/SmolLM2-135M", "a/b_c.d", "1/_x_", "gpt2", "bert-base-uncased"] {
      #expect(HubModelName.isName(name), "\(name)")
    }
    let long = "a/" + String(repeating: "b", count: 97)
    for name in [
      "a/b/c", "..", ".", "a--b", "gpt2/", "/a", "a/", "../a", "./a", "a b/c", "-a/b", "", "a/b--c",
      "a/b..c", "a/b.",
      "a/b.git", "a/é", long,
    ] {
      #expect(!HubModelName.isName(name), "\(name)")
    }
  }

  @Test func revisions() {
    #expect(HubModelName("a/b")?.revision == "main")
    #expect(HubModelName("a/b@v1.0")?.revision == "v1.0")
    #expect(HubModelName("a/b@refs/pr/3")?.revision == "refs/pr/3")
    #expect(HubModelName("a/b", revision: "dev")?.revision == "dev")
    #expect(HubModelName("a/b@dev", revision: "dev")?.revision == "dev")
    #expect(HubModelName("a/b@dev", revision: "v1") == nil)
    for text in ["a/b@", "a/b@../x", "a/b@x/../y", "a/b@/x", "a/b@x y", "a/b@.x", "a/b@x@y"] {
      #expect(HubModelName(text) == nil, "\(text)")
    }
    #expect(HubModelName("gpt2@v1")?.name == "gpt2")
    #expect(HubModelName("gpt2")?.hasOrganisation == false)
    #expect(HubModelName("a/gpt2")?.hasOrganisation == true)
    #expect(HubModelName("a/b").map { "\($0)" } == "a/b")
    #expect(HubModelName("a/b@v1").map { "\($0)" } == "a/b@v1")
  }
}
