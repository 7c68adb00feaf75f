import CommandLineParsing
import Testing

private enum Precision: String, CaseIterable, OptionValue { case float32, bfloat16, float16 }

private let rank = Option("rank", default: 8, short: "r", help: "Rank.")
private let rate = Option<Double>("learning-rate", default: nil, help: "Step size.")
private let output = Option<String>("output", default: nil, short: "o", help: "Directory.")
private let precision = Option("precision", default: Precision.float32, help: "Number format.")
private let adapter = Option<String>("adapter", default: nil, help: "Adapter.", isRepeated: true)
private let resume = Option<String>("resume", default: nil, help: "Go on.", optionalValue: "last")
private let packing = Flag("packing", default: true, help: "Pack.")
private let json = Flag("json", help: "Print JSON.")
private let file = Positional("FILE", help: "Input.")
private let extra = Positional("EXTRA", count: .optional, help: "More.")
private let rest = Positional("REST", count: .variadic, help: "All else.")

private let options: [any OptionDeclaration] = [
  rank, rate, output, precision, adapter, resume, packing, json,
]
private let command = CommandSpecification(name: "train", summary: "Trains.", options: options)
private let files = CommandSpecification(
  name: "files", summary: "Lists.", options: options, positionals: [file, extra, rest])

private func error(_ arguments: String..., in command: CommandSpecification = command) -> String? {
  do throws(UsageError) {
    _ = try command.parse(arguments)
    return nil
  } catch {
    return error.message
  }
}

@Suite struct ParsingTests {
  @Test func `an option that is not given has its default`() throws {
    let parsed = try command.parse([])
    #expect(parsed[rank] == 8)
    #expect(parsed[rate] == nil)
    #expect(parsed[precision] == .float32)
    #expect(parsed[packing])
    #expect(!parsed[json])
    #expect(parsed.values(adapter) == [])
    #expect(!parsed.isGiven("rank"))
    #expect(!parsed.wantsHelp)
  }

  @Test func `a value follows its option, an equals sign or a short name`() throws {
    for arguments in [["--rank", "3"], ["--rank=3"], ["-r", "3"]] {
      let parsed = try command.parse(arguments)
      #expect(parsed[rank] == 3)
      #expect(parsed.isGiven("rank"))
    }
    #expect(try command.parse(["--precision", "bfloat16"])[precision] == .bfloat16)
  }

  @Test func `an attached value may be empty, hold equals signs or begin with any character`()
    throws
  {
    for text in ["", "a=b", "=x", "--rank", "\u{301}e", "a\r\nb"] {
      let parsed = try command.parse(["--output=" + text])
      #expect(parsed[output].map { Array($0.utf8) } == Array(text.utf8))
    }
  }

  @Test func `the last value wins, except that a repeated option keeps them all`() throws {
    let parsed = try command.parse([
      "--rank", "1", "--rank", "2", "--adapter", "a", "--adapter=b", "--no-packing", "--packing",
    ])
    #expect(parsed[rank] == 2)
    #expect(parsed.values(adapter) == ["a", "b"])
    #expect(parsed[packing])
  }

  @Test func `a flag is set, cleared or given a truth value`() throws {
    #expect(try !command.parse(["--no-packing"])[packing])
    #expect(try command.parse(["--json"])[json])
    #expect(try !command.parse(["--packing=false"])[packing])
    #expect(error("--json=yes") == "invalid value 'yes' for --json, expected true|false")
    #expect(error("--no-json=true") == "--no-json takes no value")
  }

  @Test func `a negative number or a lone dash is a value`() throws {
    #expect(try command.parse(["--rank", "-3"])[rank] == -3)
    #expect(try command.parse(["--learning-rate", "-1e-4"])[rate] == -1e-4)
    #expect(try command.parse(["--learning-rate", "-.5"])[rate] == -0.5)
    #expect(try command.parse(["--output", "-"])[output] == "-")
    #expect(try command.parse(["--output", "- an item"])[output] == "- an item")
    #expect(try files.parse(["-3"]).positional(file) == "-3")
  }

  @Test func `an option with an optional value takes what does not look like an option`() throws {
    #expect(try command.parse([])[resume] == nil)
    #expect(try command.parse(["--resume"])[resume] == "last")
    #expect(try command.parse(["--resume", "--json"])[resume] == "last")
    #expect(try command.parse(["--resume", "step-5"])[resume] == "step-5")
  }

  @Test func `positionals are filled in order, and two dashes end the options`() throws {
    let parsed = try files.parse(["a", "-r", "2", "b", "c", "--", "--rank", "-h"])
    #expect(parsed.positional(file) == "a")
    #expect(parsed.positional(extra) == "b")
    #expect(parsed.positionals(rest) == ["c", "--rank", "-h"])
    #expect(parsed[rank] == 2)
    let short = try files.parse(["a"])
    #expect(short.positional(extra) == nil)
    #expect(short.positionals(rest) == [])
  }

  @Test func `a wrong number of positionals is an error that names the first wrong one`() {
    #expect(error(in: files) == "missing argument FILE")
    #expect(error("a") == "unexpected argument 'a'")
  }

  @Test func `help needs nothing else, and ends the reading`() throws {
    #expect(try files.parse(["-h"]).wantsHelp)
    #expect(try files.parse(["--json", "--help", "--bogus"]).wantsHelp)
    #expect(try !files.parse(["--", "--help"]).wantsHelp)
  }

  @Test func `an unknown option is named, with the nearest one`() {
    #expect(error("--rnak", "3") == "unknown option --rnak; did you mean --rank?")
    #expect(error("--no-paking") == "unknown option --no-paking; did you mean --no-packing?")
    #expect(error("-output", "x") == "unknown option -output; did you mean --output?")
    #expect(error("--zzzzzz=1") == "unknown option --zzzzzz")
    #expect(error("-q", in: files) == "unknown option -q")
  }

  @Test func `a value of the wrong type is named, with what was expected`() {
    #expect(error("--rank", "x") == "invalid value 'x' for --rank, expected INTEGER")
    #expect(error("-r", "1.5") == "invalid value '1.5' for -r, expected INTEGER")
    #expect(
      error("--learning-rate=nan") == "invalid value 'nan' for --learning-rate, expected NUMBER")
    #expect(
      error("--precision", "float23")
        == "invalid value 'float23' for --precision, expected float32|bfloat16|float16; "
        + "did you mean float32?")
  }

  @Test func `a missing value is an error, also before another option`() {
    #expect(error("--rank") == "--rank needs a value: --rank INTEGER")
    #expect(
      error("-o", "--json")
        == "-o needs a value: -o TEXT (--output=TEXT if it begins with a dash)")
  }

  @Test func `a required option that is missing is an error when it is asked for`() throws {
    let parsed = try command.parse([])
    #expect(throws: UsageError("missing required --output TEXT")) { try parsed.value(output) }
    #expect(try command.parse(["-o", "d"]).value(output) == "d")
    #expect(try parsed.value(rank) == 8)
  }
}
