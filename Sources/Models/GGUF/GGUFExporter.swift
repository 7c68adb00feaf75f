package import Checkpoints
import Foundation
import Layers
import Quantization
package import Tensors

/// Writes a decoder as a GGUF file that llama.cpp reads.
///
/// Matrices are stored in one type; norms, biases and learned positions stay in single precision, as
/// llama.cpp has them. Rows of q and k change places where its reader rotates neighbouring elements,
/// and one is added to weights of norms where it expects that.
public struct GGUFExporter {
  /// How matrices are stored.
  public enum Storage: String, Sendable, CaseIterable {
    /// Single precision.
    case f32
    /// Half precision; a weight beyond its range is an error.
    case f16
    /// The upper half of a single.
    case bf16
    /// 8 bits with a scale for every 32 elements of a row; rows that are no multiple of 32 are stored
    /// in half precision, as llama.cpp's converter does.
    case q80 = "q8_0"

    /// The type of the file's tensors.
    package var type: GGUFTensorType {
      switch self {
      case .f32: .f32
      case .f16: .f16
      case .bf16: .bf16
      case .q80: .q80
      }
    }

    /// The number of `general.file_type`.
    package var fileType: UInt32 {
      switch self {
      case .f32: 0
      case .f16: 1
      case .q80: 7
      case .bf16: 32
      }
    }
  }

  /// What an export wrote.
  public struct Summary: Sendable, Equatable {
    /// `general.architecture` of the file.
    public let architecture: String
    /// The number of tensors.
    public let tensorCount: Int
    /// The number of weights.
    public let parameterCount: Int
    /// The longest text, in tokens, that the file is for.
    public let contextLength: Int
    /// Whether that is less than the model's own, because the file cannot say its sliding window.
    public let isContextCut: Bool
  }

  private let model: DecoderForCausalLM
  private let directory: String
  private let architecture: GGUFExportArchitecture
  private let names: GGUFLayerNames
  private let storage: Storage

  /// Checks that a model can be said in a GGUF file.
  ///
  /// - Parameters:
  ///   - model: A decoder whose weights are dense.
  ///   - directory: The model's directory, for its tokenizer and for messages.
  ///   - storage: How matrices are stored.
  /// - Throws: ``ModelError/unsupported(path:what:supported:)`` that names what llama.cpp does not
  ///   have.
  public init(_ model: DecoderForCausalLM, directory: String, storage: Storage) throws {
    self.model = model
    self.directory = directory
    self.storage = storage
    architecture = try .of(model.configuration, path: directory)
    names = GGUFLayerNames(model.configuration, architecture)
  }

  private struct Plan {
    let tensor: GGUFWriter.Tensor
    let value: () -> Tensor
  }

  /// Writes the file, which appears only when it is whole.
  ///
  /// - Parameters:
  ///   - path: The file; its directory must exist. One that is there is replaced.
  ///   - progress: Called after every tensor with their number and how many there are.
  /// - Returns: What was written.
  /// - Throws: ``ModelError``, `CheckpointError` or `JSONError` when the tokenizer cannot be said in a
  ///   GGUF file, a number does not fit the type, or the file cannot be written.
  @discardableResult
  public func write(
    to path: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> Summary {
    let c = model.configuration
    var ids = GGUFTokenizerMetadata.ModelIDs()
    (ids.begin, ids.ends, ids.padding) = (c.beginOfTextID, c.endOfTextIDs, c.paddingID)
    let tokenizer = try GGUFTokenizerMetadata(
      directory: directory, vocabularySize: c.vocabularySize, modelIDs: ids)
    let described = GGUFExportMetadata(c, architecture)
    var metadata: [(key: String, value: GGUFValue)] = [
      ("general.architecture", .string(architecture.name)), ("general.type", .string("model")),
      ("general.name", .string(URL(fileURLWithPath: directory).lastPathComponent)),
      ("general.file_type", .uint32(storage.fileType)),
    ]
    if storage == .q80 { metadata.append(("general.quantization_version", .uint32(2))) }
    metadata += described.entries + tokenizer.entries
    let plans = try plans(described)
    let writer = try GGUFWriter(path: path, metadata: metadata, tensors: plans.map(\.tensor))
    for (index, plan) in plans.enumerated() {
      try writer.write(plan.value())
      progress(index + 1, plans.count)
    }
    try writer.commit()
    return Summary(
      architecture: architecture.name, tensorCount: plans.count,
      parameterCount: plans.reduce(0) { $0 + $1.tensor.elementCount },
      contextLength: described.contextLength,
      isContextCut: described.contextLength < c.maximumLength)
  }

  private func plans(_ described: GGUFExportMetadata) throws -> [Plan] {
    var plans = described.factors.map { name, values in
      Plan(tensor: .init(name: name, type: .f32, shape: [values.count])) { Tensor(values) }
    }
    let isTied = try checkHead()
    for (path, parameter) in model.parameters() {
      if path == "lm_head.weight", isTied, !architecture.writesTiedHead { continue }
      let (module, leaf) = Self.split(path)
      guard let place = names.place(of: module), leaf == "weight" || leaf == "bias" else {
        throw ModelError.unsupported(
          path: directory,
          what: "tensor \(path) in a GGUF file of architecture "
            + architecture.name,
          supported: ["the tensors of a \(model.modelType) without adapters"])
      }
      let value = parameter.value
      plans.append(
        Plan(
          tensor: .init(
            name: "\(place.name).\(leaf)", type: type(of: place, value), shape: value.shape)
        ) { [architecture] in
          Self.stored(
            value, place, addsOne: architecture.addsOneToNorms && place.isNorm && leaf == "weight")
        })
    }
    return plans
  }

  private static func split(_ path: String) -> (module: String, leaf: String) {
    guard let dot = path.lastIndex(of: ".") else { return ("", path) }
    return (String(path[..<dot]), String(path[path.index(after: dot)...]))
  }

  private func type(of place: GGUFLayerPlace, _ value: Tensor) -> GGUFTensorType {
    guard value.rank > 1, place.name != "position_embd" else { return .f32 }
    let rows = value.size(-1) % storage.type.blockSize
    return rows == 0 ? storage.type : .f16
  }

  /// A parameter as the file holds it, before it is rounded.
  private static func stored(
    _ value: Tensor, _ place: GGUFLayerPlace, addsOne: Bool
  ) -> Tensor {
    if addsOne { return value.to(.float32) + 1.0 }
    return place.interleavedHeads.map { value.interleavingRows(heads: $0) } ?? value
  }

  /// Whether the output head is the embedding table.
  private func checkHead() throws -> Bool {
    guard model.configuration.tiesEmbeddings else { return false }
    let (head, table) = (
      model.head.projection.denseWeight(), model.model.embedding.table.denseWeight()
    )
    let isTied = head.sharesStorage(with: table) || head.isEqual(to: table)
    guard isTied || !architecture.needsTiedHead else {
      throw ModelError.unsupported(
        path: directory,
        what: "an output head of its own in a GGUF file of architecture \(architecture.name)",
        supported: ["tied embeddings"])
    }
    return isTied
  }
}

extension GGUFWriter {
  /// Elements that are converted at a time.
  private static let pieceSize = 1 << 22

  /// Appends a whole tensor in pieces of rows, which become single precision first.
  package func write(_ value: Tensors.Tensor) throws {
    guard value.count > 0 else { return }
    let matrix = value.detached().reshaped([-1, value.size(-1)])
    let rowsAtOnce = max(1, Self.pieceSize / matrix.size(1))
    for row in stride(from: 0, to: matrix.size(0), by: rowsAtOnce) {
      let rows = row..<min(row + rowsAtOnce, matrix.size(0))
      let piece = matrix.narrowed(0, rows).to(device: .cpu).to(.float32).contiguous()
      try piece.withUnsafeBytes { bytes in
        try write(bytes.bindMemory(to: Float.self))
      }
    }
  }
}

extension Tensor {
  /// The rows of each head in the order of llama.cpp's `llama`: the two halves become neighbours.
  package func interleavingRows(heads: Int) -> Tensor {
    reshaped([heads, 2, size(0) / heads / 2, -1]).transposed(1, 2).reshaped(shape)
  }
}
