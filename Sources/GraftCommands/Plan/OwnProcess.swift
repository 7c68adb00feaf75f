import CommandLineParsing
import Foundation

/// This command with other arguments, as a process of its own that is waited for.
enum OwnProcess {
  /// Variables by which this process may itself be one of several.
  private static let outer: Set = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"]

  /// Runs it.
  ///
  /// - Parameters:
  ///   - arguments: Verb and options.
  ///   - output: Beginning of the paths of two files for what it writes.
  /// - Returns: The file with its standard output.
  /// - Throws: ``RecipeError`` with the last words of a run that failed, `UsageError` where an option is
  ///   wrong, as it is wrong with this command then.
  @discardableResult
  static func run(_ arguments: [String], output: String) throws -> String {
    let process = Process()
    process.executableURL = URL(
      fileURLWithPath: Bundle.main.executablePath ?? CommandLine.arguments[0])
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.filter { !outer.contains($0.key) }
    process.standardInput = FileHandle.nullDevice
    // Files, as a pipe that nobody reads would stop it.
    let (words, errors) = (output + ".out", output + ".err")
    for file in [words, errors] { try Data().write(to: URL(fileURLWithPath: file)) }
    process.standardOutput = FileHandle(forWritingAtPath: words)
    process.standardError = FileHandle(forWritingAtPath: errors)
    try process.run()
    process.waitUntilExit()
    guard process.terminationReason == .exit, process.terminationStatus == 0 else {
      let text = (try? String(contentsOfFile: errors, encoding: .utf8)) ?? ""
      let reason =
        "a trial run failed: " + text.split(separator: "\n").suffix(3).joined(separator: "\n")
      guard process.terminationStatus != ExitCode.usage.rawValue else { throw UsageError(reason) }
      throw RecipeError(reason)
    }
    return words
  }
}
