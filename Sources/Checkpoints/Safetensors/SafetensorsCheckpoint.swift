import JSONValues

/// The weights of a model directory: one safetensors file, or shards with an index.
///
/// Looks for `<stem>.safetensors`, then for `<stem>.safetensors.index.json`, whose `weight_map`
/// says for each tensor which file of the directory holds it. All shards are mapped and checked
/// when the checkpoint is opened.
public final class SafetensorsCheckpoint: Sendable {
  /// The directory as it was given.
  public let directory: String
  /// The files, in the order of their names.
  public let files: [SafetensorsFile]
  /// The names of all tensors: in file order for a single file, in index order for shards.
  public let names: [String]

  private let places: [UTF8Key: (file: Int, entry: SafetensorsEntry)]

  /// Maps and checks the weights of a directory.
  ///
  /// - Parameters:
  ///   - directory: the model directory.
  ///   - stem: the file name without its suffixes.
  /// - Throws: ``CheckpointError`` naming the missing or malformed file, or the tensor that the
  ///   index promises and the shard lacks.
  public init(directory: String, stem: String = "model") throws(CheckpointError) {
    self.directory = directory
    let contents = try directoryEntries(of: directory)
    let single = "\(stem).safetensors"
    let index = "\(stem).safetensors.index.json"
    if contents.contains(single) {
      let file = try SafetensorsFile(path: "\(directory)/\(single)")
      files = [file]
      names = file.entries.map(\.name)
      places = Dictionary(
        uniqueKeysWithValues: file.entries.map { (UTF8Key($0.name), (file: 0, entry: $0)) })
    } else if contents.contains(index) {
      let indexPath = "\(directory)/\(index)"
      let weightMap = try Self.weightMap(at: indexPath)
      let shardNames = Set(weightMap.map(\.file)).sorted()
      var files: [SafetensorsFile] = []
      var numbers: [String: Int] = [:]
      for name in shardNames {
        numbers[name] = files.count
        files.append(try SafetensorsFile(path: "\(directory)/\(name)"))
      }
      var places: [UTF8Key: (file: Int, entry: SafetensorsEntry)] = [:]
      for (name, fileName) in weightMap {
        let number = numbers[fileName] ?? 0
        guard let entry = files[number][name] else {
          throw .lacks(
            path: files[number].path, what: "tensor \(quoted(name)), which \(index) places there")
        }
        places[UTF8Key(name)] = (number, entry)
      }
      self.files = files
      self.places = places
      names = weightMap.map(\.name)
    } else {
      throw .lacks(path: directory, what: "weights: neither \(single) nor \(index) is there")
    }
  }

  /// Where a tensor is, or nil when the checkpoint has none of that name.
  ///
  /// - Parameter name: the name, compared by bytes.
  /// - Returns: the file and its entry.
  public func entry(_ name: String) -> (file: SafetensorsFile, entry: SafetensorsEntry)? {
    places[UTF8Key(name)].map { (files[$0.file], $0.entry) }
  }

  private static func weightMap(
    at path: String
  ) throws(CheckpointError) -> [(name: String, file: String)] {
    let json: JSON
    do throws(JSONError) {
      json = try JSON.read(path: path, rejectDuplicateKeys: true)
    } catch .unreadable(_, let reason) {
      throw .unreadable(path: path, reason: reason)
    } catch {
      throw .index(path: path, reason: "\(error)")
    }
    guard let map = json["weight_map"]?.objectValue else {
      throw .index(path: path, reason: "weight_map is not an object of tensor and file names")
    }
    var pairs: [(name: String, file: String)] = []
    for (name, value) in map {
      guard let file = value.stringValue else {
        throw .index(path: path, reason: "the file of tensor \(quoted(name)) is not a string")
      }
      guard isPlainFileName(file) else {
        throw .index(
          path: path,
          reason: "the file of tensor \(quoted(name)) is \(quoted(file)), not a file name in the"
            + " same directory")
      }
      pairs.append((name, file))
    }
    return pairs
  }

  private static func isPlainFileName(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".."
      && !name.utf8.contains { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") || $0 == 0 }
  }
}
