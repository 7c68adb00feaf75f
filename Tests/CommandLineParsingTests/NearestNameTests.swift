import CommandLineParsing
import Testing

@Suite struct NearestNameTests {
  @Test func `the candidate with the fewest edits is found`() {
    let names = ["learning-rate", "rank", "max-steps", "max-length"]
    #expect(nearestName("rnak", among: names) == "rank")
    #expect(nearestName("max_steps", among: names) == "max-steps")
    #expect(nearestName("learning-rat", among: names) == "learning-rate")
    #expect(nearestName("max-lenght", among: names) == "max-length")
  }

  @Test func `an abbreviation is found where no edit comes near`() {
    #expect(nearestName("lea", among: ["rank", "learning-rate"]) == "learning-rate")
    #expect(nearestName("le", among: ["rank", "learning-rate"]) == nil)
  }

  @Test func `nothing is found where nothing is near`() {
    #expect(nearestName("batch-size", among: ["learning-rate", "rank"]) == nil)
    #expect(nearestName("x", among: ["y"]) == nil)
    #expect(nearestName("x", among: []) == nil)
  }
}
