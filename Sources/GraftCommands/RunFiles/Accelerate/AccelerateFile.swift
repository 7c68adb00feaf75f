import CommandLineParsing
import Foundation
import JSONValues

/// A configuration file of Accelerate's, YAML or JSON.
struct AccelerateFile {
  let content: JSONObject
  let path: String
  /// What Accelerate calls how the processes share the work.
  let kind: String
  /// Processes of all machines; nil where the file leaves them open.
  let processes: Int?
  /// Machines.
  let machines: Int
  /// Number of this machine, from 0.
  let machineRank: Int
  /// HOST:PORT where processes of several machines meet; nil where the file does not say.
  let rendezvous: String?

  private static let kinds = ["NO", "MULTI_CPU", "DEEPSPEED", "FSDP"]

  /// Reads a file.
  ///
  /// - Throws: `CheckpointError`, `JSONError` or ``RecipeError`` where it cannot be read, has no such form,
  ///   or asks for machines that cannot be.
  init(_ path: String) throws {
    let parsed =
      try path.hasSuffix(".json")
      ? JSON.read(path: path, rejectDuplicateKeys: true) : YAMLText.read(path)
    guard let object = parsed.objectValue else {
      throw RecipeError("\(path): expected Accelerate's keys, as accelerate config writes them")
    }
    content = object
    self.path = path
    // A bare NO is a truth value in YAML.
    guard let kind = object["distributed_type"].map({ $0.boolValue == false ? "NO" : $0.written })
    else {
      throw RecipeError("\(path): distributed_type is missing")
    }
    guard Self.kinds.contains(kind) else {
      throw RecipeError(
        "\(path): distributed_type = \(kind) is not supported; supported: "
          + Self.kinds.joined(separator: ", "))
    }
    self.kind = kind
    func number(_ key: String, _ range: ClosedRange<Int>) throws -> Int? {
      guard let value = object[key], !value.isNull else { return nil }
      guard let number = value.wholeNumber, range.contains(number) else {
        throw RecipeError("\(path): \(key) is \(value.written), expected a number in \(range)")
      }
      return number
    }
    let count = try number("num_processes", -1...4_194_304)
    guard count != 0 else { throw RecipeError("\(path): num_processes is 0") }
    processes = count == -1 ? nil : count ?? (kind == "NO" ? 1 : nil)
    machines = try number("num_machines", 1...4096) ?? 1
    machineRank = try number("machine_rank", 0...4095) ?? 0
    guard machineRank < machines else {
      throw RecipeError(
        "\(path): machine_rank is \(machineRank), expected a number in 0...\(machines - 1)")
    }
    let port = try number("main_process_port", 0...65535)
    rendezvous = object["main_process_ip"].flatMap { $0.isNull ? nil : $0.written }
      .map { "\($0):\(port ?? 29500)" }
    if let processes, processes % machines != 0 {
      throw RecipeError(
        "\(path): num_processes = \(processes) cannot be shared by num_machines = \(machines)")
    }
  }

  /// What ``kind`` means here.
  var meaning: String {
    switch kind {
    case "DEEPSPEED": "deepspeed_config says how"
    case "FSDP": "fsdp_config says how"
    case "NO": "one process"
    default: "processes share each update"
    }
  }

  /// Checks that as many processes run as the file says.
  func check(processes count: Int) throws {
    guard let processes, processes != count else { return }
    throw UsageError(
      "num_processes = \(processes) of \(path), but \(count) \(count == 1 ? "runs" : "run"): start it "
        + "with graft launch --accelerate-config \(path) -- train ...")
  }

  /// The DeepSpeed configuration that the file names or contains; nil for another kind.
  ///
  /// - Returns: Its content and what messages call it.
  func deepSpeed() throws -> (JSONObject, source: String)? {
    guard kind == "DEEPSPEED" else { return nil }
    let own = content["deepspeed_config"]?.objectValue ?? JSONObject()
    if let name = own["deepspeed_config_file"], !name.isNull, name.written != "none" {
      let said =
        AccelerateKeys.deepSpeedFields.filter { own[$0].map { !$0.isNull } ?? false }
        .map { "deepspeed_config.\($0)" }
        + (content["mixed_precision"].map {
          $0.isNull || $0.boolValue == false || $0.written == "no"
        }
          ?? true ? [] : ["mixed_precision"])
      guard said.isEmpty else {
        throw RecipeError(
          "\(path): \(said.joined(separator: ", ")) cannot stand beside deepspeed_config_file = "
            + "\(name.written): say it there")
      }
      return (try DeepSpeedText.read(name.written), name.written)
    }
    return (inline(own), "\(path), deepspeed_config")
  }

  /// The file that DeepSpeed would get, as Accelerate makes it.
  private func inline(_ own: JSONObject) -> JSONObject {
    func value(_ key: String, default other: JSON) -> JSON {
      guard let found = own[key]?.present, found.written != "none" else { return other }
      return found
    }
    var zero = JSONObject([("stage", value("zero_stage", default: 2))])
    for name in ["optimizer", "param"] {
      var section = JSONObject([
        ("device", value("offload_\(name)_device", default: "none"))
      ])
      section["nvme_path"] = value("offload_\(name)_nvme_path", default: .null)
      zero["offload_\(name)"] = .object(section)
    }
    var result = JSONObject([
      ("train_batch_size", "auto"), ("train_micro_batch_size_per_gpu", "auto"),
      (
        "gradient_accumulation_steps",
        value("gradient_accumulation_steps", default: "auto")
      ),
      ("zero_optimization", .object(zero)),
    ])
    // "none" asks for no clipping.
    let clipping = own["gradient_clipping"]
    result["gradient_clipping"] =
      clipping?.written == "none" ? .integer(0) : value("gradient_clipping", default: "auto")
    for (section, name) in [("fp16", "fp16"), ("bf16", "bf16")] {
      let precision = content["mixed_precision"]
      guard let precision, !precision.isNull else { continue }
      result[section] = ["enabled": .bool(precision.written == name)]
    }
    return result
  }
}
