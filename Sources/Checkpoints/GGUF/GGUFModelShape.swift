import JSONValues

/// The sizes and options of a decoder, read from a GGUF file's metadata and tensor list.
struct GGUFModelShape {
  let architecture: GGUFArchitecture
  let layerCount: Int
  let hiddenSize: Int
  let feedForwardSize: Int
  let headCount: Int
  let keyValueHeadCount: Int
  let headSize: Int
  /// Dimensions of a head that are rotated.
  let rotatedSize: Int
  let contextLength: Int
  let vocabularySize: Int
  let epsilon: Double
  let ropeBase: Double
  let ropeScaling: JSON
  let hasOutput: Bool
  let hasAttentionBias: Bool
  let hasFeedForwardBias: Bool
  /// What config.json says of the family besides sizes.
  let familyFields: [(key: String, value: JSON)]

  init(_ file: GGUFFile) throws(CheckpointError) {
    let fields = GGUFFields(file)
    try Self.checkIsWholeModel(fields)
    let architecture = try GGUFArchitecture(named: fields.string("general.architecture"), file)
    let prefix = architecture.rawValue
    self.architecture = architecture
    if let experts = try fields.optionalInteger("\(prefix).expert_count"), experts > 0 {
      throw .unsupported(
        path: file.path, what: "a mixture of \(experts) experts (architecture \(prefix))",
        supported: ["dense models"])
    }
    layerCount = try fields.size("\(prefix).block_count")
    hiddenSize = try fields.size("\(prefix).embedding_length")
    feedForwardSize = try fields.size("\(prefix).feed_forward_length")
    headCount = try fields.size("\(prefix).attention.head_count")
    keyValueHeadCount =
      try fields.optionalSize("\(prefix).attention.head_count_kv") ?? headCount
    contextLength = try fields.size("\(prefix).context_length")
    let isGPT2 = architecture == .gpt2
    epsilon = try fields.number(
      "\(prefix).attention.layer_norm_\(isGPT2 ? "" : "rms_")epsilon")
    ropeBase = try fields.optionalNumber("\(prefix).rope.freq_base") ?? 10_000
    (headSize, rotatedSize) = try Self.headSize(
      fields, prefix, hiddenSize: hiddenSize, headCount: headCount,
      rotatesParts: architecture == .phi3)
    guard keyValueHeadCount > 0, headCount % keyValueHeadCount == 0, headSize % 2 == 0 else {
      throw .mismatch(
        path: file.path, what: "\(prefix).attention",
        expected: "an even head size and a number of heads that the key heads divide",
        actual: "size \(headSize), \(headCount) heads, \(keyValueHeadCount) key heads")
    }
    guard layerCount <= file.tensors.count else {
      throw .mismatch(
        path: file.path, what: "\(prefix).block_count",
        expected: "at most the \(file.tensors.count) tensors of the file", actual: "\(layerCount)")
    }
    guard let embedding = file.tensor(named: "token_embd.weight"), embedding.shape.count == 2 else {
      throw .lacks(path: file.path, what: "tensor \"token_embd.weight\" with two axes")
    }
    vocabularySize = embedding.shape[0]
    ropeScaling = try GGUFRopeScaling(
      file, fields, prefix: prefix, headSize: rotatedSize, base: ropeBase,
      contextLength: contextLength
    ).json
    familyFields = try Self.familyFields(
      architecture, fields, layerCount: layerCount, hiddenSize: hiddenSize, headCount: headCount,
      headSize: headSize, rotatedSize: rotatedSize, contextLength: contextLength)
    hasOutput = file.tensor(named: "output.weight") != nil
    let attention = architecture.isFused ? "attn_qkv" : "attn_q"
    hasAttentionBias = file.tensor(named: "blk.0.\(attention).bias") != nil
    hasFeedForwardBias = file.tensor(named: "blk.0.ffn_up.bias") != nil
  }

  private static func checkIsWholeModel(_ fields: GGUFFields) throws(CheckpointError) {
    if let type = try fields.optionalString("general.type"), type != "model" {
      throw .unsupported(
        path: fields.file.path, what: "a file of general.type \(quoted(type))",
        supported: ["model"])
    }
    if let parts = try fields.optionalInteger("split.count"), parts > 1 {
      throw .unsupported(
        path: fields.file.path, what: "a model split into \(parts) files",
        supported: ["a single file; join the parts with gguf-split --merge first"])
    }
  }

  private static func headSize(
    _ fields: GGUFFields, _ prefix: String, hiddenSize: Int, headCount: Int, rotatesParts: Bool
  ) throws(CheckpointError) -> (size: Int, rotated: Int) {
    let rotated = try fields.optionalSize("\(prefix).rope.dimension_count")
    let keys = try fields.optionalSize("\(prefix).attention.key_length")
    let values = try fields.optionalSize("\(prefix).attention.value_length")
    let size = keys ?? (rotatesParts ? nil : rotated) ?? hiddenSize / headCount
    for (name, other) in [
      ("rope.dimension_count", rotatesParts ? nil : rotated), ("attention.value_length", values),
    ] {
      if let other, other != size {
        throw .unsupported(
          path: fields.file.path, what: "\(prefix).\(name) \(other) with a head size of \(size)",
          supported: ["the head size"])
      }
    }
    guard size > 0 else {
      throw .mismatch(
        path: fields.file.path, what: "the head size of \(prefix)", expected: "a positive integer",
        actual: "\(size)")
    }
    if let rotated, rotated > size || rotated % 2 != 0 {
      throw .mismatch(
        path: fields.file.path, what: "\(prefix).rope.dimension_count",
        expected: "an even number up to the head size \(size)", actual: "\(rotated)")
    }
    return (size, rotated ?? size)
  }
}
