import Checkpoints
import CommandLineParsing
import JSONValues

/// `graft download`.
enum DownloadCommand: Verb {
  static let model = Positional(
    "ORG/NAME", help: "The model or adapter, or NAME as of gpt2; @REVISION may follow.")
  static let revision = Option<String>(
    "revision", default: nil, help: "A branch, a tag or a whole commit; default main.")
  static let output = Option<String>(
    "output", default: nil, help: "Directory to write; default the cache shared with Python.")
  static let parallel = Option<Int>(
    "parallel", default: 4, help: "Files that are fetched at the same time.")
  static let quiet = Flag("quiet", help: "No progress.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "download", summary: "Fetch a model or an adapter from the Hugging Face hub",
    discussion: """
      Fetched are configuration, tokenizer, templates and safetensors weights; of an adapter its \
      configuration and weights. What stopped half-way goes on where it stopped.

      From the environment: HF_TOKEN or HF_TOKEN_PATH, HF_ENDPOINT for a mirror, HF_HOME or \
      HF_HUB_CACHE for the cache, HF_HUB_OFFLINE=1 to ask nobody, HF_HUB_DOWNLOAD_TIMEOUT in seconds.
      """,
    options: [revision, output, parallel, quiet, json], positionals: [model])

  /// Files at the same time that a server may still bear.
  private static let mostParallel = 32

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    let text = arguments.positional(model) ?? ""
    guard let name = HubModelName(text) else { throw HubError.name(text) }
    var model = name
    if let revision = arguments[revision] {
      guard let chosen = HubModelName(text, revision: revision) else {
        throw UsageError(
          "--revision \(revision): expected a branch, a tag or a commit, and the same as behind @")
      }
      model = chosen
    }
    let parallel = try arguments.value(parallel)
    guard (1...mostParallel).contains(parallel) else {
      throw UsageError("--parallel is \(parallel), expected 1 to \(mostParallel)")
    }
    StopSignal.catchSignals()
    let environment = HubEnvironment()
    let display = DownloadDisplay(isQuiet: arguments[quiet] || environment.hidesProgress)
    defer { display.end() }
    let found: HubSnapshot
    if let directory = arguments[output] {
      found = try HubDownloader.download(
        model, to: directory, environment: environment, parallelFiles: parallel,
        report: display.show)
    } else {
      found = try HubDownloader(environment: environment, parallelFiles: parallel)
        .download(model, report: display.show)
    }
    display.end()
    write(found, arguments[json], console)
    return .done
  }

  private static func write(_ found: HubSnapshot, _ asJSON: Bool, _ console: Console) {
    guard asJSON else {
      console.write("\(found.directory)\n")
      return
    }
    let files = found.files.map { file in
      JSON.object(
        JSONObject([
          ("name", .string(file.path)), ("bytes", .integer(file.bytes)),
          ("downloaded_bytes", .integer(file.fetchedBytes)),
        ]))
    }
    let fetched = found.files.reduce(0) { $0 + $1.fetchedBytes }
    console.write([
      "model": .string(found.model.name), "revision": .string(found.model.revision),
      "commit": .string(found.commit), "directory": .string(found.directory),
      "downloaded_bytes": .integer(fetched), "files": .array(files),
    ])
  }
}
