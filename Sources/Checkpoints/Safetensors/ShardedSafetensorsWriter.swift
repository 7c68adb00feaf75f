import JSONValues
public import Tensors

/// Plans and writes the weights of a model directory, in shards when they are large.
///
/// Names as Hugging Face's `save_pretrained` gives them: `model.safetensors`, or
/// `model-00001-of-00003.safetensors` and so on with `model.safetensors.index.json`. Tensors are
/// distributed greedily in the given order, as there: a shard is closed when the next tensor would
/// exceed the limit; a tensor that is larger alone gets a shard of its own, before the open one.
public struct ShardedSafetensorsWriter {
  /// One file and its tensors.
  public struct Shard: Sendable, Equatable {
    /// The file name in the directory.
    public let fileName: String
    /// The tensors in the given order.
    public let tensors: [SafetensorsWriter.Tensor]
  }

  /// The files to write.
  public let shards: [Shard]

  private let directory: String
  private let stem: String
  private let totalBytes: Int
  private let totalElements: Int

  /// The limit of `save_pretrained` of transformers 5, "50GB": 50 x 10^9 bytes.
  public static let defaultShardLimit = 50_000_000_000

  /// Distributes tensors over shards; nothing is written yet.
  ///
  /// - Parameters:
  ///   - directory: where the files go.
  ///   - tensors: all tensors, in the order in which to distribute them.
  ///   - shardLimit: the most data bytes of one file.
  ///   - stem: the file name without its suffixes.
  /// - Throws: ``CheckpointError/invalidTensor(path:tensor:reason:)`` for an impossible shape.
  public init(
    directory: String, tensors: [SafetensorsWriter.Tensor],
    shardLimit: Int = Self.defaultShardLimit, stem: String = "model"
  ) throws(CheckpointError) {
    self.directory = directory
    self.stem = stem
    var groups: [[SafetensorsWriter.Tensor]] = []
    var open: [SafetensorsWriter.Tensor] = []
    var openBytes = 0
    var total = 0
    for tensor in tensors {
      let layout = try SafetensorsLayout(path: directory, tensors: [tensor], metadata: nil)
      let bytes = layout.entries[0].byteRange.count
      total += bytes
      if bytes > shardLimit {
        groups.append([tensor])
        continue
      }
      if openBytes + bytes > shardLimit {
        groups.append(open)
        (open, openBytes) = ([], 0)
      }
      open.append(tensor)
      openBytes += bytes
    }
    if !open.isEmpty || groups.isEmpty { groups.append(open) }
    totalBytes = total
    totalElements = tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }
    let count = groups.count
    shards = groups.enumerated().map { index, tensors in
      let name =
        count == 1 ? "\(stem).safetensors" : Self.fileName(stem: stem, index, of: count)
      return Shard(fileName: name, tensors: tensors)
    }
  }

  /// Writes all shards, and the index when there is more than one.
  ///
  /// - Parameter body: called for every tensor that has data, in the order of the files; it must
  ///   give exactly the tensor's bytes to the writer.
  /// - Throws: ``CheckpointError`` from the writer or from `body`.
  public func write(
    _ body: (SafetensorsEntry, SafetensorsWriter) throws(CheckpointError) -> Void
  ) throws(CheckpointError) {
    for shard in shards {
      let writer = try SafetensorsWriter(
        path: "\(directory)/\(shard.fileName)", tensors: shard.tensors)
      while let entry = writer.next {
        try body(entry, writer)
        if writer.next == entry { break }  // incomplete: commit() says so
      }
      try writer.commit()
    }
    try writeIndex()
  }

  /// Writes all shards from tensors that are made one at a time, and the index when there is more
  /// than one.
  ///
  /// - Parameter tensor: makes the tensor of a name, of the type and shape that were planned.
  /// - Throws: ``CheckpointError`` from the writer, or what `tensor` throws.
  public func write(tensor: (String) throws -> Tensor) throws {
    for shard in shards {
      let writer = try SafetensorsWriter(
        path: "\(directory)/\(shard.fileName)", tensors: shard.tensors)
      while let entry = writer.next {
        let source = try tensor(entry.name).detached().to(device: .cpu).contiguous()
        try source.withUnsafeBytes { bytes throws in try writer.write(bytes) }
        if writer.next == entry { break }  // incomplete: commit() says so
      }
      try writer.commit()
    }
    try writeIndex()
  }

  private func writeIndex() throws(CheckpointError) {
    guard shards.count > 1 else { return }
    try AtomicFile.write(
      path: "\(directory)/\(stem).safetensors.index.json",
      text: index.serialized(indent: 2) + "\n")
  }

  /// Removes weights of the same stem that an earlier run left in the directory.
  ///
  /// A reader takes a single file before shards, and an index of shards that are not there fails.
  ///
  /// - Throws: ``CheckpointError/cannotWrite(path:reason:)``.
  public func removeOthers() throws(CheckpointError) {
    let index = "\(stem).safetensors.index.json"
    let own = Set(shards.map(\.fileName) + (shards.count > 1 ? [index] : []))
    for name in try directoryEntries(of: directory) {
      let isShard = name.hasPrefix("\(stem)-") && name.hasSuffix(".safetensors")
      guard isShard || name == "\(stem).safetensors" || name == index, !own.contains(name) else {
        continue
      }
      try removeFile("\(directory)/\(name)")
    }
  }

  private var index: JSON {
    let places = shards.flatMap { shard in
      shard.tensors.map { (key: $0.name, value: JSON.string(shard.fileName)) }
    }
    let ordered = places.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    return [
      "metadata": [
        "total_parameters": .integer(totalElements), "total_size": .integer(totalBytes),
      ],
      "weight_map": .object(JSONObject(ordered)),
    ]
  }

  /// What one of several files is called, in the way of `save_pretrained`.
  ///
  /// - Parameters:
  ///   - stem: the file name without numbers and suffix.
  ///   - index: the file's number, from 0; names count from 1.
  ///   - count: how many there are.
  /// - Returns: for example `model-00001-of-00003.safetensors`.
  package static func fileName(stem: String, _ index: Int, of count: Int) -> String {
    "\(stem)-\(fiveDigits(index + 1))-of-\(fiveDigits(count)).safetensors"
  }

  private static func fiveDigits(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
  }
}
