import CommandLineParsing
import Testing

private enum Precision: String, CaseIterable, OptionValue { case float32, bfloat16 }
private enum Schedule: String, CaseIterable, OptionValue { case constant, linear, cosine }

private let command = CommandSpecification(
  name: "train", summary: "Fine-tunes a model.",
  discussion: """
    Writes the adapter, the resolved recipe
    and the metrics into the output directory, which must not exist yet.

    A stopped run goes on with --resume.
    """,
  options: [
    Option<String>("model", default: nil, short: "m", group: "Model", help: "Directory or name."),
    Option("precision", default: Precision.float32, group: "Model", help: "Number format."),
    Option("learning-rate", default: 2e-5, help: "Size of the first step after the warm-up."),
    Option("schedule", default: Schedule.linear, help: "How the step size falls."),
    Option<String>("adapter", default: nil, help: "Where to start.", isRepeated: true),
    Option<Int>("resume-from-checkpoint-at-step", default: nil, help: "Go on.", optionalValue: 0),
    Flag("packing", default: true, help: "Put several examples into one row."),
    Flag("json", help: "Print one object."),
  ],
  positionals: [
    Positional("FILE", help: "The data."), Positional("MORE", count: .variadic, help: "More data."),
  ])

@Suite struct HelpTests {
  @Test func `help shows usage, groups, defaults and choices in columns`() {
    let expected = """
      Usage: graft train [options] FILE [MORE ...]

      Fine-tunes a model.

      Writes the adapter, the resolved recipe and the metrics into
      the output directory, which must not exist yet.

      A stopped run goes on with --resume.

      Arguments:
        FILE                          The data.
        MORE                          More data.

      Model:
        -m, --model TEXT              Directory or name.
        --precision float32|bfloat16  Number format. (default:
                                      float32)

      Options:
        --learning-rate NUMBER        Size of the first step after
                                      the warm-up. (default: 2e-05)
        --schedule CHOICE             How the step size falls. One
                                      of constant, linear, cosine.
                                      (default: linear)
        --adapter TEXT                Where to start. Can be
                                      repeated.
        --resume-from-checkpoint-at-step [INTEGER]
                                      Go on.
        --[no-]packing                Put several examples into one
                                      row. (default: true)
        --json                        Print one object.
        -h, --help                    Show this help.

      """
    #expect(command.help(program: "graft", columns: 62) == expected)
  }

  @Test func `no line of the help is longer than asked, unless a word is`() {
    for columns in [60, 80, 90] {
      let lines = command.help(program: "graft", columns: columns).split(separator: "\n")
      #expect(lines.allSatisfy { $0.count <= columns })
    }
  }
}
