import CommandLineParsing
import Datasets
import JSONValues
import Models
import Tokenizers

/// `graft data`: looks at data as training sees them.
enum DataCommand: Verb {
  static let action = Positional(
    "ACTION",
    help: "preview: tokens beside labels, and what is cut or left out. "
      + "render: conversations as the chat template writes them.")
  static let model = Option<String>(
    "model", default: nil, help: "Directory with a tokenizer, GGUF file or hub name.")
  static let rows = Option<Int>("rows", default: 3, help: "Rows to show from the beginning.")
  static let allTokens = Flag(
    "all-tokens", help: "Show every token; otherwise the middle of long masked parts is left out.")
  static let generationPrompt = Flag(
    "generation-prompt", help: "With render: end where the assistant begins to write.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "data", summary: "Show tokens, labels and chat templates' text of training data",
    options: [model, TaskOptions.task, TaskOptions.problem] + DataOptions.all + HeadTasks.options
      + [
        Seq2SeqData.maximumTargetLength, TrainOptions.seed, rows, allTokens, generationPrompt,
        json,
      ],
    positionals: [action])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    let name = arguments.positional(action) ?? ""
    guard name == "preview" || name == "render" else {
      let near = nearestName(name, among: ["preview", "render"]).map { "; did you mean \($0)?" }
      throw UsageError("data \(name): expected preview or render\(near ?? "")")
    }
    guard name == "render" || !arguments[generationPrompt] else {
      throw UsageError("--generation-prompt is for data render")
    }
    try arguments.require(model, TrainOptions.data)
    let directory = try ModelSource.directory(of: try arguments.value(model))
    let tokenizer = try Tokenizer(directory: directory)
    let path = try arguments.value(TrainOptions.data)
    if name == "preview", try Seq2SeqData.isMeant(arguments, directory, data: path) {
      let limit = try Seq2SeqData.lengthLimit(of: directory)
      let encoder = try Seq2SeqData.encoder(arguments, tokenizer, limit: limit).encoder
      return try preview(path, arguments, console) { try encoder.preview(path: $0, each: $1) }
    }
    let task = try arguments[TaskOptions.task] ?? DataOptions.task(of: directory)
    if name == "preview", task != .causalLM {
      return try preview(try HeadTasks.named(task), directory, tokenizer, arguments, console)
    }
    let encoder = try DataOptions.encoder(
      arguments, tokenizer,
      maximumLength: try DataOptions.maximumLength(
        arguments, limit: try DataOptions.lengthLimit(of: directory, tokenizer)))
    return name == "preview"
      ? try preview(path, arguments, console) { try encoder.preview(path: $0, each: $1) }
      : try render(path, encoder, arguments, console)
  }

  private static func preview(
    _ path: String, _ arguments: ParsedArguments, _ console: Console,
    by read: (String, (ExamplePreview) throws -> Void) throws -> EncodingReport
  ) throws -> ExitCode {
    var listing = PreviewListing(
      shownRows: try SamplingOptions.count(arguments, rows, 0...1 << 30) ?? 3)
    listing.report = try read(path) { listing.add($0) }
    write(listing, path, arguments, console)
    return .done
  }

  /// Rows for a model with a head, which gets the classes of the data where it has none of its own.
  private static func preview(
    _ kind: any HeadTask.Type, _ directory: String, _ tokenizer: Tokenizer,
    _ arguments: ParsedArguments, _ console: Console
  ) throws -> ExitCode {
    let path = try arguments.value(TrainOptions.data)
    let records = try kind.read(path)
    let shape = try AutoModel.shape(of: directory)
    let labels =
      try AutoModel.task(of: directory) == kind.task && kind.hasLabels
      ? kind.completed(try AutoModel.labels(of: directory), records, arguments)
      : try kind.newLabels(of: records, arguments, path)
    let task = try kind.init(
      TaskSetting(
        tokenizer: tokenizer,
        maximumLength: try DataOptions.maximumLength(arguments, limit: shape.maximumLength),
        segmentCount: shape.tokenTypeCount, vocabularySize: shape.vocabularySize, labels: labels,
        seed: UInt64(bitPattern: Int64(try arguments.value(TrainOptions.seed)))), arguments)
    let data = try task.encode(records, file: path, isEvaluated: false)
    var listing = PreviewListing(
      shownRows: try SamplingOptions.count(arguments, rows, 0...1 << 30) ?? 3)
    listing.report = data.report
    for number in data.examples.indices.prefix(listing.shownRows) {
      listing.add(data.preview(number))
    }
    write(listing, path, arguments, console)
    return .done
  }

  private static func write(
    _ listing: PreviewListing, _ path: String, _ arguments: ParsedArguments, _ console: Console
  ) {
    if arguments[json] {
      console.write(listing.json(file: path))
    } else {
      console.write(listing.text(showsAllTokens: arguments[allTokens]))
    }
  }

  /// Every row; one that the template refuses is reported in its place and makes the exit code 65.
  private static func render(
    _ path: String, _ encoder: ExampleEncoder, _ arguments: ParsedArguments, _ console: Console
  ) throws -> ExitCode {
    var reader = try RecordReader(path: path, family: .languageModel, allowsPromptOnly: true)
    var results: [JSON] = []
    var code = ExitCode.done
    while let record = try reader.next() {
      do {
        let rendering = try encoder.rendering(
          of: record, addGenerationPrompt: arguments[generationPrompt])
        if arguments[json] {
          results.append(row(of: rendering, record.location))
        } else {
          console.write("\(rendering.text)\n")
        }
      } catch {
        code = .badData
        console.log("graft: \(error)")
        results.append([
          "line": .integer(record.location.line), "error": .string("\(error)"),
        ])
      }
    }
    if arguments[json] { console.write(["rows": .array(results)]) }
    return code
  }

  private static func row(of rendering: ConversationRendering, _ place: RecordLocation) -> JSON {
    [
      "line": .integer(place.line), "text": .string(rendering.text),
      "ids": .array(rendering.ids.map(JSON.integer)),
      "assistant_mask": rendering.assistantMask.map { mask in
        JSON.array(mask.map { JSON.integer($0 ? 1 : 0) })
      } ?? .null,
      "mask_problem": rendering.maskProblem.map(JSON.string) ?? .null,
    ]
  }
}
