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
  let contextLength: Int
  let vocabularySize: Int
  let epsilon: Double
  let ropeBase: Double
  let ropeScaling: JSON
  let hasOutput: Bool
  let hasAttentionBias: Bool
  let hasFeedForwardBias: Bool

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
      try fields.optionalInteger("\(prefix).attention.head_count_kv") ?? headCount
    contextLength = try fields.size("\(prefix).context_length")
    epsilon = try fields.number("\(prefix).attention.layer_norm_rms_epsilon")
    ropeBase = try fields.optionalNumber("\(prefix).rope.freq_base") ?? 10_000
    headSize = try Self.headSize(fields, prefix, hiddenSize: hiddenSize, headCount: headCount)
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
      file, fields, prefix: prefix, headSize: headSize, base: ropeBase,
      contextLength: contextLength
    ).json
    hasOutput = file.tensor(named: "output.weight") != nil
    hasAttentionBias = file.tensor(named: "blk.0.attn_q.bias") != nil
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
    _ fields: GGUFFields, _ prefix: String, hiddenSize: Int, headCount: Int
  ) throws(CheckpointError) -> Int {
    let rotated = try fields.optionalInteger("\(prefix).rope.dimension_count")
    let keys = try fields.optionalInteger("\(prefix).attention.key_length")
    let values = try fields.optionalInteger("\(prefix).attention.value_length")
    let size = keys ?? rotated ?? hiddenSize / headCount
    for (name, other) in [
      ("rope.dimension_count", rotated), ("attention.value_length", values),
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
    return size
  }
}

/// Typed access to the metadata of a GGUF file, with errors that name the key.
struct GGUFFields {
  let file: GGUFFile

  init(_ file: GGUFFile) { self.file = file }

  func optionalString(_ key: String) throws(CheckpointError) -> String? {
    guard let value = file[key] else { return nil }
    guard let text = value.stringValue else { throw mismatch(key, "a string", value) }
    return text
  }

  func string(_ key: String) throws(CheckpointError) -> String {
    guard let text = try optionalString(key) else { throw lacks(key) }
    return text
  }

  func optionalInteger(_ key: String) throws(CheckpointError) -> Int? {
    guard let value = file[key] else { return nil }
    guard let integer = value.intValue else { throw mismatch(key, "one integer", value) }
    return integer
  }

  /// A positive integer below 2^31, so that products of two do not overflow.
  func size(_ key: String) throws(CheckpointError) -> Int {
    guard let integer = try optionalInteger(key) else { throw lacks(key) }
    guard (1..<1 << 31).contains(integer) else {
      throw .mismatch(
        path: file.path, what: key, expected: "an integer from 1 below 2^31", actual: "\(integer)")
    }
    return integer
  }

  func optionalNumber(_ key: String) throws(CheckpointError) -> Double? {
    guard let value = file[key] else { return nil }
    guard let number = value.doubleValue, number.isFinite else {
      throw mismatch(key, "a finite number", value)
    }
    return number
  }

  func number(_ key: String) throws(CheckpointError) -> Double {
    guard let number = try optionalNumber(key) else { throw lacks(key) }
    return number
  }

  func optionalBool(_ key: String) throws(CheckpointError) -> Bool? {
    guard let value = file[key] else { return nil }
    guard let flag = value.boolValue else { throw mismatch(key, "a truth value", value) }
    return flag
  }

  /// An array whose elements all convert, or nil when the key is absent.
  func optionalArray<Element>(
    _ key: String, of expected: String, _ convert: (GGUFValue) -> Element?
  ) throws(CheckpointError) -> [Element]? {
    guard let value = file[key] else { return nil }
    guard let values = value.arrayValue else { throw mismatch(key, "an array", value) }
    var result: [Element] = []
    result.reserveCapacity(values.count)
    for (index, value) in values.enumerated() {
      guard let element = convert(value) else {
        throw mismatch("\(key)[\(index)]", expected, value)
      }
      result.append(element)
    }
    return result
  }

  func lacks(_ key: String) -> CheckpointError {
    .lacks(path: file.path, what: "metadata key \(quoted(key))")
  }

  private func mismatch(_ key: String, _ expected: String, _ value: GGUFValue) -> CheckpointError {
    let found =
      value.arrayValue.map { "an array of \($0.count)" } ?? String("\(value)".prefix(80))
    return .mismatch(path: file.path, what: key, expected: expected, actual: found)
  }
}
