import CommandLineParsing
import Testing

private let rank = Option("rank", default: 8, help: "Rank.")
private let rate = Option<Double>("learning-rate", default: nil, help: "Step size.")
private let adapter = Option("adapter", default: "none", help: "Adapter.", isRepeated: true)
private let packing = Flag("packing", help: "Pack.")
private let command = CommandSpecification(
  name: "train", summary: "Trains.", options: [rank, rate, adapter, packing])

@Suite struct MergingTests {
  @Test func `merged values fill in what the command line leaves open`() throws {
    var parsed = try command.parse(["--rank", "4", "--adapter", "mine"])
    try parsed.merge(
      [("rank", "16"), ("learning-rate", "1e-3"), ("packing", "true"), ("adapter", "theirs")],
      source: "recipe.yaml")
    #expect(parsed[rank] == 4)
    #expect(parsed[rate] == 1e-3)
    #expect(parsed[packing])
    #expect(parsed.values(adapter) == ["mine"])
    #expect(parsed.isGiven("learning-rate"))
  }

  @Test func `later pairs and later calls win, and repeated values of one call stay together`()
    throws
  {
    var parsed = try command.parse([])
    #expect(parsed.values(adapter) == ["none"])
    try parsed.merge(
      [("rank", "1"), ("rank", "2"), ("adapter", "a"), ("adapter", "b")], source: "recipe.yaml")
    #expect(parsed[rank] == 2)
    #expect(parsed.values(adapter) == ["a", "b"])
    try parsed.merge([("rank", "3"), ("adapter", "c")], source: "--set")
    #expect(parsed[rank] == 3)
    #expect(parsed.values(adapter) == ["c"])
  }

  @Test func `an unknown key or a value of the wrong type is an error and changes nothing`() throws
  {
    var parsed = try command.parse([])
    #expect(throws: UsageError("recipe.yaml: unknown key 'rnak'; did you mean 'rank'?")) {
      try parsed.merge([("packing", "true"), ("rnak", "2")], source: "recipe.yaml")
    }
    #expect(
      throws: UsageError("invalid value 'many' for 'rank' in recipe.yaml, expected INTEGER")
    ) {
      try parsed.merge([("rank", "many")], source: "recipe.yaml")
    }
    #expect(throws: UsageError("invalid value '1' for 'packing' in --set, expected true|false")) {
      try parsed.merge([("packing", "1")], source: "--set")
    }
    #expect(!parsed[packing])
    #expect(!parsed.isGiven("packing"))
  }

  @Test func `the resolved options list every one, and merge back to the same values`() throws {
    var parsed = try command.parse(["--adapter", "a", "--adapter", "b", "--rank=1", "--rank=2"])
    try parsed.merge([("packing", "true")], source: "--set")
    let resolved = parsed.resolved()
    #expect(resolved.map(\.name) == ["rank", "learning-rate", "adapter", "adapter", "packing"])
    #expect(resolved.map(\.value) == ["2", nil, "a", "b", "true"])
    var again = try command.parse([])
    let pairs = resolved.compactMap { pair in pair.value.map { (name: pair.name, value: $0) } }
    try again.merge(pairs, source: "resolved.yaml")
    #expect(again.resolved().map(\.value) == resolved.map(\.value))
  }

  @Test func `without any option given the resolved values are the defaults`() throws {
    #expect(try command.parse([]).resolved().map(\.value) == ["8", nil, "none", "false"])
  }
}
