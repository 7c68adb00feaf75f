import JSONValues

/// Plans and writes the weights of a model directory, in shards when they are large.
///
/// Names as Hugging Face's `save_pretrained` gives them: `model.safetensors`, or
/// `model-00001-of-00003.safetensors` and so on with `model.safetensors.index.json`. Tensors are
/// distributed greedily in the given order: a shard is closed when the next tensor would exceed the
/// limit; a tensor that is larger alone gets its own shard.
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

  /// The limit of `save_pretrained`, "5GB": 5 x 10^9 bytes.
  public static let defaultShardLimit = 5_000_000_000

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
    var groups: [[SafetensorsWriter.Tensor]] = [[]]
    var groupBytes = 0
    var total = 0
    for tensor in tensors {
      let layout = try SafetensorsLayout(path: directory, tensors: [tensor], metadata: nil)
      let bytes = layout.entries[0].byteRange.count
      if groupBytes > 0, groupBytes + bytes > shardLimit {
        groups.append([])
        groupBytes = 0
      }
      groups[groups.count - 1].append(tensor)
      groupBytes += bytes
      total += bytes
    }
    totalBytes = total
    totalElements = tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }
    let count = groups.count
    shards = groups.enumerated().map { index, tensors in
      let name =
        count == 1
        ? "\(stem).safetensors"
        : "\(stem)-\(Self.fiveDigits(index + 1))-of-\(Self.fiveDigits(count)).safetensors"
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
    if shards.count > 1 {
      try AtomicFile.write(
        path: "\(directory)/\(stem).safetensors.index.json",
        text: index.serialized(indent: 2) + "\n")
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

  private static func fiveDigits(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
  }
}
