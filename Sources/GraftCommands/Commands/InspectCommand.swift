import Adapters
import Checkpoints
import CommandLineParsing
import Foundation
import JSONValues
import Quantization
import Tensors
import Training

/// `graft inspect`.
enum InspectCommand: Verb {
  static let path = Positional(
    "PATH", help: "A model, an adapter or a checkpoint directory, or a safetensors file.")
  static let spectrum = Flag(
    "spectrum",
    help: "Singular values, effective rank and energy of each update; of a model, of each weight.")
  static let base = Option<String>(
    "base", default: nil,
    help: "With --spectrum: a model, for norms against it; of a model, what it was changed by.")
  static let against = Option<String>(
    "against", default: nil,
    help: "With --spectrum: another adapter or model, for angles between subspaces.")
  static let picture = Option<String>(
    "picture", default: nil, help: "With --spectrum: a .svg or .html file to write.")
  static let targets = Flag(
    "targets", help: "Layers of a model that can be adapted, and what that would train.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "inspect", summary: "Show what a model, an adapter or a checkpoint holds",
    options: [spectrum, base, against, picture, targets, json], positionals: [path])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    try checkOptions(arguments)
    let path = try ModelSource.directory(of: arguments.positional(path) ?? "", .any)
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw CheckpointError.missing(path: path)
    }
    let (kind, files, configuration) =
      isDirectory.boolValue
      ? try contents(ofDirectory: path) : ("safetensors", [try SafetensorsFile(path: path)], nil)
    if arguments[targets] {
      guard kind == "model" else {
        throw UsageError("--targets: \(path) is no model directory but \(kind)")
      }
      let listing = try TargetListing(path)
      if arguments[json] { console.write(listing.json) } else { console.write(listing.text) }
      return .done
    }
    var rows: [JSON] = []
    var (elements, bytes) = (0, 0)
    let names = Set(files.flatMap(\.entries).map(\.name))
    for entry in files.flatMap(\.entries) {
      elements += parameterCount(entry, among: names)
      bytes += entry.byteRange.count
      rows.append([
        "name": .string(entry.name), "dtype": .string(entry.dtype.rawValue),
        "shape": .array(entry.shape.map(JSON.integer)),
      ])
    }
    let spectra =
      arguments[spectrum]
      ? try SpectrumReport(path: path, against: arguments[against], base: arguments[base]) : nil
    if let spectra, let file = arguments[picture] {
      try AtomicFile.write(
        path: file, text: file.hasSuffix(".html") ? spectra.page : spectra.picture)
    }
    if arguments[json] {
      var object = JSONObject([
        ("path", .string(path)), ("kind", .string(kind)), ("tensors", .array(rows)),
        ("parameters", .integer(elements)), ("bytes", .integer(bytes)),
      ])
      if let configuration { object["config"] = configuration }
      if let spectra {
        object["spectrum"] = spectra.values
        object["spectrum_details"] = spectra.details
      }
      console.write(.object(object))
      return .done
    }
    console.write(
      "\(path): \(kind), \(rows.count) tensors, \(elements) parameters, \(bytes) bytes\n")
    for row in rows {
      console.write(
        "  \(row["name"]?.stringValue ?? "") \(row["dtype"]?.stringValue ?? "") "
          + "\(row["shape"]?.serialized() ?? "")\n")
    }
    if let spectra { console.write("\nspectrum\n\(spectra.text)") }
    if let curve = lossCurve(path) { console.write("\nloss\n\(curve)\n") }
    return .done
  }

  /// The loss curve of a run's directory.
  private static func lossCurve(_ path: String) -> String? {
    guard let text = try? String(contentsOfFile: path + "/metrics.jsonl", encoding: .utf8) else {
      return nil
    }
    let points = text.split(separator: "\n").compactMap { line -> (step: Int, loss: Double)? in
      guard let row = try? JSON.parse(Data(line.utf8)), let step = row["step"]?.intValue,
        let loss = row["loss"]?.doubleValue
      else { return nil }
      return (step, loss)
    }
    return points.count > 1 ? LossChart().text(of: points) : nil
  }

  private static func contents(
    ofDirectory path: String
  ) throws -> (String, [SafetensorsFile], JSON?) {
    let adapter = path + "/adapter_config.json"
    if FileManager.default.fileExists(atPath: adapter) {
      let isCheckpoint = FileManager.default.fileExists(atPath: path + "/state.json")
      return (
        isCheckpoint ? "checkpoint" : "adapter",
        [try SafetensorsFile(path: path + "/adapter_model.safetensors")],
        try JSON.read(path: adapter)
      )
    }
    let configuration = try JSON.read(path: path + "/config.json")
    return ("model", try SafetensorsCheckpoint(directory: path).files, configuration)
  }

  /// Options that mean nothing without `--spectrum`, and the names that pictures can have.
  private static func checkOptions(_ arguments: ParsedArguments) throws {
    for name in ["base", "against", "picture"] where arguments.isGiven(name) {
      guard arguments[spectrum] else { throw UsageError("--\(name) needs --spectrum") }
    }
    guard let file = arguments[picture] else { return }
    guard file.hasSuffix(".svg") || file.hasSuffix(".html") else {
      throw UsageError("--picture \(file): expected a name that ends with .svg or .html")
    }
  }
}
