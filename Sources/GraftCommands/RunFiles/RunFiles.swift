import CommandLineParsing
import JSONValues

/// The files of DeepSpeed and Accelerate that a run is given, as options.
struct RunFiles {
  /// One file.
  struct Resolved {
    /// The options that it asks for.
    let options: [(name: String, value: String)]
    /// What messages call it.
    let source: String
    /// Its keys and what becomes of them, for people.
    let text: String
  }

  /// What each file comes to, in the order in which they are merged.
  private(set) var all: [Resolved] = []

  /// Reads the files that the command line names.
  ///
  /// - Parameters:
  ///   - given: The command line.
  ///   - stated: The same with `--set` and `--config`.
  ///   - current: The same over the recipe of a resumed run.
  ///   - processes: Processes of the run.
  /// - Throws: ``RecipeError``, `JSONError` or `CheckpointError` for a file, `UsageError` for options
  ///   that contradict one.
  init(
    _ given: ParsedArguments, stated: ParsedArguments, current: ParsedArguments, processes: Int
  ) throws {
    func begin(_ file: JSONObject, _ source: String) -> FileResolution {
      FileResolution(
        file, source: source, processes: processes, stated: stated, current: current)
    }
    func end(_ resolution: FileResolution) throws {
      try resolution.finish()
      all.append(
        Resolved(
          options: resolution.options, source: resolution.source, text: resolution.text))
    }
    if let path = given[TrainOptions.accelerateConfig] {
      let file = try AccelerateFile(path)
      try file.check(processes: processes)
      var resolution = begin(file.content, path)
      try resolution.resolveAccelerate(file)
      try end(resolution)
      if let (content, source) = try file.deepSpeed() {
        guard given[TrainOptions.deepSpeed] == nil else {
          throw UsageError(
            "--deepspeed \(given[TrainOptions.deepSpeed] ?? ""): \(path) has a DeepSpeed "
              + "configuration of its own")
        }
        var resolution = begin(content, source)
        try resolution.resolveDeepSpeed()
        try end(resolution)
      }
    }
    if let path = given[TrainOptions.deepSpeed] {
      var resolution = begin(try DeepSpeedText.read(path), path)
      try resolution.resolveDeepSpeed()
      try end(resolution)
    }
  }
}
