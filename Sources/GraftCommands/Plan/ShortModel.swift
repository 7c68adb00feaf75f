import Checkpoints
import Foundation
import JSONValues

/// A model's directory with fewer blocks, for a trial: the first ones of each stack as they are, and
/// everything else.
///
/// A stack is what stands before the first number in tensors' names ("model.layers" of
/// "model.layers.3.mlp.up_proj.weight").
struct ShortModel {
  let directory: String
  /// Blocks of the deepest stack.
  let depth: Int
  /// Bytes of all weights as they are stored, by their type.
  let storedBytes: [(type: String, bytes: Int)]
  /// Bytes of each tensor's elements, by type and number of elements.
  let elementCount: Int

  private let checkpoint: SafetensorsCheckpoint
  private let configuration: JSONObject
  private let stacks: Set<String>

  /// Keys by which configurations say how deep a model is.
  private static let depthKeys = [
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers",
    "encoder_layers", "decoder_layers",
  ]

  /// Reads the headers of a model's weights.
  ///
  /// - Parameter directory: The model's.
  /// - Throws: `CheckpointError` or `JSONError` for a model that cannot be read, ``RecipeError`` for one
  ///   whose blocks cannot be told apart.
  init(_ directory: String) throws {
    self.directory = directory
    checkpoint = try SafetensorsCheckpoint(directory: directory)
    let path = directory + "/config.json"
    guard let configuration = try JSON.read(path: path).objectValue else {
      throw RecipeError("\(path): expected an object")
    }
    self.configuration = configuration
    var counts: [String: Int] = [:]
    var bytes: [String: Int] = [:]
    var elements = 0
    for name in checkpoint.names {
      if let (stack, block) = Self.block(of: name) {
        counts[stack] = max(counts[stack] ?? 0, block + 1)
      }
      guard let entry = checkpoint.entry(name)?.entry else { continue }
      bytes[entry.dtype.rawValue, default: 0] += entry.byteRange.count
      elements += entry.elementCount
    }
    let depth = counts.values.max() ?? 0
    guard depth > 0, Self.depthKeys.contains(where: { configuration[$0]?.intValue == depth }) else {
      throw RecipeError(
        "\(path): graft plan finds no number of blocks that fits the weights' \(depth)")
    }
    self.depth = depth
    stacks = Set(counts.filter { $0.value == depth }.keys)
    storedBytes = bytes.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    elementCount = elements
  }

  /// Writes a directory with so many blocks of the deepest stacks.
  func write(blocks: Int, to output: String) throws {
    try makeDirectory(output)
    let files = FileManager.default
    for name in try files.contentsOfDirectory(atPath: directory)
    where !name.hasPrefix("model.safetensors") && name != "config.json" {
      try files.createSymbolicLink(
        atPath: "\(output)/\(name)",
        withDestinationPath: URL(fileURLWithPath: "\(directory)/\(name)").standardizedFileURL.path)
    }
    let names = checkpoint.names.filter { name in
      Self.block(of: name).map { !stacks.contains($0.stack) || $0.block < blocks } ?? true
    }
    let found = names.compactMap { checkpoint.entry($0) }
    let writer = try SafetensorsWriter(
      path: output + "/model.safetensors",
      tensors: found.map {
        .init(name: $0.entry.name, dtype: $0.entry.dtype, shape: $0.entry.shape)
      },
      metadata: checkpoint.files.first?.metadata)
    for entry in writer.entries {
      guard let (file, own) = checkpoint.entry(entry.name) else { continue }
      try writer.write(file.bytes(of: own))
    }
    try writer.commit()
    var shortened = JSONObject()
    for (key, value) in configuration {
      if Self.depthKeys.contains(key), value.intValue == depth {
        shortened[key] = .integer(blocks)
      } else if let list = value.arrayValue, list.count == depth {
        // What is said for each block, such as the kind of its attention.
        shortened[key] = .array(Array(list.prefix(blocks)))
      } else {
        shortened[key] = value
      }
    }
    try AtomicFile.write(
      path: output + "/config.json", text: JSON.object(shortened).serialized(indent: 2) + "\n")
  }

  private static func block(of name: String) -> (stack: String, block: Int)? {
    let words = name.split(separator: ".")
    guard let place = words.firstIndex(where: { Int($0) != nil }), let block = Int(words[place])
    else { return nil }
    return (words[..<place].joined(separator: "."), block)
  }
}
