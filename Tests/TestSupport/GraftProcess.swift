public import Foundation

/// The command `graft` as a process, with its exit code and its two streams.
public struct GraftProcess {
  /// What a finished command left.
  public struct Result {
    /// Exit code, or the negative number of the signal that ended it.
    public let code: Int32
    /// Standard output.
    public let output: String
    /// Standard error.
    public let errors: String
  }

  /// Where SwiftPM put what it built: beside the test runner.
  public static let productsDirectory: URL = {
    #if os(macOS)
      let bundle = Bundle.allBundles.first { $0.bundlePath.hasSuffix(".xctest") }
      return (bundle ?? .main).bundleURL.deletingLastPathComponent()
    #else
      return URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    #endif
  }()

  private let process = Process()
  private let output: URL
  private let errors: URL
  private let input: URL?

  /// Starts a program of this package.
  ///
  /// - Parameters:
  ///   - arguments: Words behind the program's name.
  ///   - program: The program's name, or an absolute path.
  ///   - directory: Its working directory; nil for the current one.
  ///   - text: What it reads from standard input; nil for nothing.
  ///   - variables: What its environment has besides the current one's.
  /// - Throws: When it cannot be started.
  public init(
    _ arguments: [String], program: String = "graft", directory: String? = nil,
    input text: String? = nil, variables: [String: String] = [:]
  ) throws {
    let scratch = FileManager.default.temporaryDirectory
    let input = text.map { _ in scratch.appendingPathComponent("graft-in-\(UUID().uuidString)") }
    if let input { try Data((text ?? "").utf8).write(to: input) }
    self.input = input
    output = scratch.appendingPathComponent("graft-out-\(UUID().uuidString)")
    errors = scratch.appendingPathComponent("graft-err-\(UUID().uuidString)")
    for url in [output, errors] {
      _ = FileManager.default.createFile(atPath: url.path, contents: nil)
    }
    process.executableURL =
      program.hasPrefix("/")
      ? URL(fileURLWithPath: program) : Self.productsDirectory.appendingPathComponent(program)
    process.arguments = arguments
    if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
    // Small models are slower on many threads than on one.
    var environment = ProcessInfo.processInfo.environment
    environment["OMP_NUM_THREADS"] = "1"
    // A directory that is missing must not be looked for on the hub.
    environment["HF_HUB_OFFLINE"] = environment["HF_HUB_OFFLINE"] ?? "1"
    process.environment = environment.merging(variables) { $1 }
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: errors)
    process.standardInput = try input.map { try FileHandle(forReadingFrom: $0) } ?? .nullDevice
    try process.run()
  }

  /// Number of the process.
  public var identifier: Int32 { process.processIdentifier }

  /// What it has written to standard output so far.
  public var outputSoFar: String { (try? String(contentsOf: output, encoding: .utf8)) ?? "" }

  /// Whether it has not ended.
  public var isRunning: Bool { process.isRunning }

  /// Sends a signal.
  public func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

  /// Waits for the end.
  public func wait() throws -> Result {
    process.waitUntilExit()
    defer {
      for url in [output, errors] + (input.map { [$0] } ?? []) {
        try? FileManager.default.removeItem(at: url)
      }
    }
    let code = process.terminationStatus
    return Result(
      code: process.terminationReason == .uncaughtSignal ? -code : code,
      output: try String(contentsOf: output, encoding: .utf8),
      errors: try String(contentsOf: errors, encoding: .utf8))
  }

  /// Runs a program of this package to its end.
  public static func run(
    _ arguments: [String], program: String = "graft", directory: String? = nil,
    input: String? = nil, variables: [String: String] = [:]
  ) throws -> Result {
    try GraftProcess(
      arguments, program: program, directory: directory, input: input, variables: variables
    ).wait()
  }
}
