import Datasets
import Foundation
import Testing

@Suite("The example data")
struct DatesExampleTests {
  private func pairs(_ name: String) throws -> [(prompt: String, completion: String)] {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    var reader = try RecordReader(
      path: root.appendingPathComponent("Examples/dates/\(name).jsonl").path)
    return try reader.readAll().compactMap { located in
      guard case .promptCompletion(let prompt, let completion) = located.record else { return nil }
      return (prompt, completion)
    }
  }

  @Test("No date of the test rows occurs in the training rows, and all are dates")
  func disjoint() throws {
    let train = try pairs("train")
    let test = try pairs("test")
    #expect(train.count == 600)
    #expect(test.count == 100)
    #expect(Set(train.map(\.completion)).isDisjoint(with: test.map(\.completion)))
    #expect(Set(train.map(\.prompt)).isDisjoint(with: test.map(\.prompt)))
    #expect(Set((train + test).map(\.completion)).count == 700)
    for pair in train + test {
      #expect(pair.prompt.hasPrefix("Write as YYYY-MM-DD: ") && pair.prompt.hasSuffix("\n"))
      #expect(!pair.prompt.contains(pair.completion))
      #expect(
        pair.completion.wholeMatch(of: /(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])/) != nil)
    }
  }
}
