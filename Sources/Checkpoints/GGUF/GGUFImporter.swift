/// Turns a GGUF file into a Hugging Face model directory.
///
/// Weights are dequantised; rows that GGUF stores in interleaved order are put back; config,
/// generation config, tokenizer and chat template are rebuilt from the metadata. The directory
/// appears when everything in it is complete.
public enum GGUFImporter {
  /// The element types that weights can be written in.
  public enum DType: String, Sendable, CaseIterable {
    /// Single precision: the dequantised values, exact.
    case float32
    /// Half precision, rounded to the nearest, ties to even; a weight beyond its range is an error.
    case float16
    /// The upper half of a single, rounded to the nearest, ties to even.
    case bfloat16

    var stored: SafetensorsDType {
      switch self {
      case .float32: .float32
      case .float16: .float16
      case .bfloat16: .bfloat16
      }
    }
  }

  /// How far an import is.
  public struct Progress: Sendable, Equatable {
    /// The tensor that was just written.
    public let tensor: String
    /// The number of tensors written.
    public let completed: Int
    /// The number of tensors to write.
    public let total: Int
    /// The bytes of weights written.
    public let writtenBytes: Int
    /// The bytes of weights to write.
    public let totalBytes: Int
  }

  /// What an import wrote.
  public struct Summary: Sendable, Equatable {
    /// The architecture of the file, such as `llama`.
    public let architecture: String
    /// The number of tensors.
    public let tensorCount: Int
    /// The number of weights.
    public let parameterCount: Int
    /// The names of the files in the directory, sorted.
    public let files: [String]
  }

  /// Imports a model.
  ///
  /// - Parameters:
  ///   - source: the GGUF file.
  ///   - destination: the directory to create; its parent must exist.
  ///   - dtype: the element type of the weights.
  ///   - existing: what to do about a directory that exists at `destination`.
  ///   - shardLimit: the most bytes of weights in one file.
  ///   - progress: called after every tensor.
  /// - Returns: what was written.
  /// - Throws: ``CheckpointError`` when the file is malformed or unsupported, or the directory
  ///   cannot be written; nothing appears at `destination` then.
  @discardableResult
  public static func importModel(
    from source: String, to destination: String, dtype: DType = .float32,
    existing: AtomicDirectory.ExistingDirectory = .refuse,
    shardLimit: Int = ShardedSafetensorsWriter.defaultShardLimit,
    progress: (Progress) -> Void = { _ in }
  ) throws(CheckpointError) -> Summary {
    let file = try GGUFFile(path: source)
    let plan = try GGUFImportPlan(file, dtype: dtype)
    let plans = plan.tensors
    let directory = try AtomicDirectory(path: destination, existing: existing)
    try directory.writing { () throws(CheckpointError) in
      try writeWeights(
        plans, of: file, into: directory.temporaryPath, dtype: dtype, shardLimit: shardLimit,
        progress: progress)
      for (name, text) in plan.texts {
        try AtomicFile.write(path: directory.path(of: name), text: text)
      }
    }
    let files = try directoryEntries(of: directory.temporaryPath).sorted()
    try directory.commit()
    return Summary(
      architecture: plan.architecture, tensorCount: plans.count,
      parameterCount: plans.reduce(0) { $0 + $1.source.elementCount }, files: files)
  }

  private static func writeWeights(
    _ plans: [GGUFTensorPlan], of file: GGUFFile, into directory: String, dtype: DType,
    shardLimit: Int, progress: (Progress) -> Void
  ) throws(CheckpointError) {
    let tensors = plans.map {
      SafetensorsWriter.Tensor(name: $0.name, dtype: dtype.stored, shape: $0.shape)
    }
    let bySourceName = Dictionary(
      uniqueKeysWithValues: plans.map { (UTF8Key($0.name), $0) })
    let writer = try ShardedSafetensorsWriter(
      directory: directory, tensors: tensors, shardLimit: shardLimit)
    let totalBytes = plans.reduce(0) { $0 + $1.source.elementCount } * dtype.stored.bitCount / 8
    var completed = 0
    var writtenBytes = 0
    let conversion = GGUFTensorConversion(file: file, dtype: dtype)
    try writer.write { (entry, writer) throws(CheckpointError) in
      guard let plan = bySourceName[UTF8Key(entry.name)] else { return }
      try conversion.write(plan, to: writer)
      completed += 1
      writtenBytes += entry.byteRange.count
      progress(
        Progress(
          tensor: entry.name, completed: completed, total: plans.count,
          writtenBytes: writtenBytes, totalBytes: totalBytes))
    }
  }
}
