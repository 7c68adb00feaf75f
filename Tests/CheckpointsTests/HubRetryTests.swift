import Checkpoints
import Testing

@Suite struct HubRetryTests {
  @Test func pausesGrowAndEnd() throws {
    var retry = HubRetry()
    var last = 0.0
    for _ in 0..<HubRetry.most {
      let pause = retry.fail()
      let seconds = try #require(pause)
      #expect(seconds > last && seconds < 10)
      last = seconds
    }
    let end = retry.fail()
    #expect(end == nil)
  }

  @Test func successStartsOver() throws {
    var retry = HubRetry()
    for _ in 0..<3 * HubRetry.most {
      let pause = retry.fail()
      #expect(try #require(pause) < 1)
      retry.succeed()
    }
  }

  @Test func theServersWishCountsWithinReason() throws {
    func wish(_ text: String) -> Double? {
      var retry = HubRetry()
      return retry.fail(wish: text)
    }
    #expect(wish("7") == 7)
    #expect(wish("100000") == 60)
    for text in ["-5", "soon", ""] { #expect(try #require(wish(text)) < 1) }
  }

  @Test func checksums() throws {
    func digest(_ algorithm: MessageDigest.Algorithm, _ pieces: [String]) throws -> String {
      let sum = try #require(MessageDigest(algorithm))
      for piece in pieces { Array(piece.utf8).withUnsafeBytes(sum.update) }
      return sum.finish()
    }
    // FIPS 180-4's example, and git's blob without content.
    #expect(
      try digest(.sha256, ["a", "", "bc"])
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      try digest(.sha1, ["blob 0\0"]) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
  }
}
