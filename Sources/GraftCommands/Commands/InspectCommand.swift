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
  static let spectrum = Flag("spectrum", help: "Singular values of each adapter update.")
  static let targets = Flag(
    "targets", help: "Layers of a model that can be adapted, and what that would train.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "inspect", summary: "Show what a model, an adapter or a checkpoint holds",
    options: [spectrum, targets, json], positionals: [path])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    let path = try ModelSource.directory(of: arguments.positional(path) ?? "")
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
      arguments[spectrum] ? try spectra(files, adapterConfiguration(configuration, path)) : []
    if arguments[json] {
      var object = JSONObject([
        ("path", .string(path)), ("kind", .string(kind)), ("tensors", .array(rows)),
        ("parameters", .integer(elements)), ("bytes", .integer(bytes)),
      ])
      if let configuration { object["config"] = configuration }
      if arguments[spectrum] {
        object["spectrum"] = .object(
          JSONObject(spectra.map { ($0.name, .array($0.values.map(JSON.number))) }))
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
    for (name, values) in spectra {
      console.write("  \(name): " + values.map { $0.fixed(4) }.joined(separator: " ") + "\n")
    }
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

  /// The configuration of an adapter, which says how its updates are scaled.
  private static func adapterConfiguration(_ json: JSON?, _ path: String) throws -> LoRAConfig? {
    guard let json, json["peft_type"] != nil else { return nil }
    return try AdapterMethods.configuration(json: json, path: path) as? LoRAConfig
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

  /// Singular values of each update s B A, without the product: QR of both, then a small SVD.
  private static func spectra(
    _ files: [SafetensorsFile], _ configuration: LoRAConfig?
  ) throws -> [(name: String, values: [Double])] {
    var result: [(name: String, values: [Double])] = []
    for file in files {
      for entry in file.entries where entry.name.hasSuffix(".lora_A.weight") {
        let stem = String(entry.name.dropLast(".lora_A.weight".count))
        guard let other = file[stem + ".lora_B.weight"] else { continue }
        let scale = try configuration?.scale(ofLayer: stem, rank: entry.shape[0]) ?? 1
        let a = try file.tensor(entry).to(.float64)  // [rank, in]
        let b = try file.tensor(other).to(.float64)  // [out, rank]
        guard a.isAllFinite, b.isAllFinite else {
          throw CheckpointError.mismatch(
            path: file.path, what: stem, expected: "numbers", actual: "NaN or infinities")
        }
        let left = b.qrDecomposition().r
        let right = a.transposed().qrDecomposition().r
        let values = left.matrixProduct(right.transposed()).singularValueDecomposition().s
        result.append((stem, values.array(of: Double.self).map { $0 * scale }))
      }
    }
    return result
  }
}
