import Checkpoints
import Foundation
import JSONValues
import Tensors
import TestSupport
import Testing

/// A directory with a tiny model and data, and what commands leave in it.
struct CommandFixture {
  let directory: String

  /// Runs `body` in a fresh directory that holds `model` and `rows.jsonl`.
  static func with(
    _ model: TinyModel = TinyModel(), _ body: (CommandFixture) throws -> Void
  ) throws {
    try withTemporaryDirectory { directory in
      let fixture = CommandFixture(directory: directory)
      try model.write(to: fixture.path("model"))
      try fixture.write("rows.jsonl", rows(16))
      try body(fixture)
    }
  }

  /// Rows of different lengths, one JSON object a line.
  static func rows(_ count: Int) -> String {
    (0..<count).map { index in
      let answer = String(repeating: "ab", count: 1 + index % 5)
      return #"{"prompt": "row \#(index):", "completion": " \#(answer)"}"# + "\n"
    }.joined()
  }

  func path(_ name: String) -> String { directory + "/" + name }

  func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }

  func write(_ name: String, _ text: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: path(name)))
  }

  func bytes(_ name: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: path(name)))
  }

  /// Every file below a directory with its content.
  func snapshot(_ name: String) throws -> [String: Data] {
    var files: [String: Data] = [:]
    for file in try FileManager.default.subpathsOfDirectory(atPath: path(name)) {
      files[file] = FileManager.default.contents(atPath: path("\(name)/\(file)"))
    }
    return files
  }

  func graft(_ arguments: String...) throws -> GraftProcess.Result {
    try GraftProcess.run(arguments, directory: directory)
  }

  /// The words of a short training run on the fixture's data.
  func training(_ more: [String] = [], output: String = "run", data: String = "rows.jsonl")
    -> [String]
  {
    [
      "train", "--model", "model", "--data", data, "--output", output, "--max-steps", "6",
      "--batch-size", "4", "--learning-rate", "1e-2", "--log-every", "1", "--rank", "4",
    ] + more
  }

  @discardableResult
  func train(
    _ more: [String] = [], output: String = "run", expecting code: Int32 = 0,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> GraftProcess.Result {
    let result = try GraftProcess.run(training(more, output: output), directory: directory)
    #expect(result.code == code, "\(result.errors)", sourceLocation: sourceLocation)
    return result
  }

  /// Rows of a run's `metrics.jsonl`.
  func metrics(_ run: String = "run") throws -> [JSON] {
    try bytes(run + "/metrics.jsonl").split(separator: UInt8(ascii: "\n"))
      .map { try JSON.parse(Data($0)) }
  }

  func losses(_ run: String = "run") throws -> [Double] {
    try metrics(run).compactMap { $0["loss"]?.doubleValue }
  }

  /// The loss that `graft evaluate` prints for the fixture's data.
  func evaluatedLoss(
    _ more: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Double {
    let result = try GraftProcess.run(
      ["evaluate", "--data", "rows.jsonl", "--metrics", "loss", "--json"] + more,
      directory: directory)
    #expect(result.code == 0, "\(result.errors)", sourceLocation: sourceLocation)
    return try #require(
      JSON.parse(Data(result.output.utf8))["loss"]?.doubleValue, sourceLocation: sourceLocation)
  }

  /// Expects a command to fail with a code and a message that names things, and to leave nothing.
  func expectFailure(
    _ code: Int32, naming mentions: [String], _ arguments: [String],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let before = try Set(FileManager.default.subpathsOfDirectory(atPath: directory))
    let result = try GraftProcess.run(arguments, directory: directory)
    #expect(result.code == code, "\(result.errors)", sourceLocation: sourceLocation)
    for mention in mentions {
      #expect(
        result.errors.contains(mention), "\(mention) is not in: \(result.errors)",
        sourceLocation: sourceLocation)
    }
    #expect(result.output == "", sourceLocation: sourceLocation)
    let after = try Set(FileManager.default.subpathsOfDirectory(atPath: directory))
    #expect(after == before, "written or lost", sourceLocation: sourceLocation)
  }
}
