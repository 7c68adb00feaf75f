import Checkpoints
import Foundation
import Layers
public import Models
import Tensors

/// Writes a LoRA adapter as the GGUF file that llama.cpp applies to a model in that format.
///
/// A reader adds (alpha / rows of A) B A to a tensor. The file has one alpha: that of most layers; of
/// the others B takes up the difference, and so does rsLoRA's scale.
public struct GGUFLoRA {
  /// What was written.
  public struct Summary: Sendable, Equatable {
    /// `general.architecture` of the file: that of the base.
    public let architecture: String
    /// The number of layers.
    public let layerCount: Int
    /// `adapter.lora.alpha` of the file.
    public let alpha: Double
  }

  private struct Layer {
    let place: GGUFLayerPlace
    let update: LowRankUpdate
  }

  private let names: GGUFLayerNames
  private let layers: [Layer]
  private let alpha: Double
  private let source: String

  /// Checks that an adapter can be said in such a file.
  ///
  /// - Parameters:
  ///   - adapter: The adapter; its updates have to be plain products.
  ///   - names: What layers of its base are called in GGUF files.
  /// - Throws: ``AdapterError/file(path:reason:)`` that names what the format has no place for.
  public init(_ adapter: LowRankAdapter, names: GGUFLayerNames) throws {
    func refuse(_ reason: String) -> AdapterError {
      .file(
        path: adapter.source,
        reason: "\(reason); merge the adapter and export the model: graft export --model M "
          + "--adapter A --format f16")
    }
    if let reason = adapter.reasonAgainstPlainFactors { throw refuse(reason) }
    if let other = adapter.others.first {
      throw refuse("a GGUF adapter has no place for \(other.key)")
    }
    var layers: [Layer] = []
    for layer in adapter.layers {
      guard let place = names.place(of: layer.path) else {
        throw refuse("\(layer.path) is no layer of a GGUF file of \(names.architecture)")
      }
      guard !layer.isEmbedding, !place.isNorm else {
        throw refuse("llama.cpp adapts linear layers only, not \(layer.path)")
      }
      guard place.name != "output" || !names.isHeadTied else {
        throw refuse(
          "the output head of the base is its embedding table, and cannot have an update")
      }
      guard layer.isMatrix else { throw refuse("\(layer.path) is a convolution") }
      layers.append(Layer(place: place, update: layer.update))
    }
    self.layers = layers
    self.names = names
    source = adapter.source
    let alphas = layers.map { $0.update.scale * Double($0.update.rank) }
    alpha = alphas.mostFrequent ?? 1
  }

  /// Writes the file, which appears only when it is whole.
  ///
  /// - Parameters:
  ///   - path: The file; its directory must exist. One that is there is replaced.
  ///   - storage: How the factors are stored: ``GGUFExporter/Storage/f32`` or ``GGUFExporter/Storage/f16``
  ///     or ``GGUFExporter/Storage/bf16``.
  /// - Returns: What was written.
  /// - Throws: `CheckpointError` when it cannot be written or a factor does not fit the type.
  @discardableResult
  public func write(to path: String, storage: GGUFExporter.Storage = .f32) throws -> Summary {
    let metadata: [(key: String, value: GGUFValue)] = [
      ("general.architecture", .string(names.architecture)), ("general.type", .string("adapter")),
      ("adapter.type", .string("lora")),
      (
        "general.name",
        .string(URL(fileURLWithPath: source).deletingLastPathComponent().lastPathComponent)
      ),
      ("general.file_type", .uint32(storage.fileType)),
      ("adapter.lora.alpha", .float32(Float(alpha))),
    ]
    var tensors: [(name: String, tensor: Tensor)] = []
    for layer in layers {
      let name = "\(layer.place.name).weight"
      // Rows that change places in the base are rows of B.
      let b =
        layer.place.interleavedHeads.map { layer.update.b.interleavingRows(heads: $0) }
        ?? layer.update.b
      let scale = layer.update.scale * Double(layer.update.rank)
      tensors.append((name + ".lora_a", layer.update.a))
      tensors.append(
        (name + ".lora_b", scale == alpha ? b : (b.to(.float32) * (scale / alpha))))
    }
    let writer = try GGUFWriter(
      path: path, metadata: metadata,
      tensors: tensors.map { .init(name: $0.name, type: storage.type, shape: $0.tensor.shape) })
    for (_, tensor) in tensors { try writer.write(tensor) }
    try writer.commit()
    return Summary(
      architecture: names.architecture, layerCount: layers.count, alpha: Double(Float(alpha)))
  }
}

extension LowRankAdapter {
  /// Why its updates are not plain products of two factors, or nil when they are.
  var reasonAgainstPlainFactors: String? {
    if hasMagnitudes { return "its updates have lengths of their own (DoRA)" }
    if configuration.invocationTokens != nil { return "it acts from certain tokens on (aLoRA)" }
    if configuration.layerReplication != nil { return "it repeats blocks (layer_replication)" }
    return nil
  }
}

extension LowRankAdapter.Layer {
  /// Whether the layer is a table of embeddings.
  var isEmbedding: Bool { !names.a.hasSuffix(".weight") }

  /// Whether the layer's own weight is a matrix.
  var isMatrix: Bool { tails.a.count == 1 && tails.b.isEmpty }
}

extension [Double] {
  /// The value that occurs most often; the largest of those.
  var mostFrequent: Double? {
    Dictionary(map { ($0, 1) }, uniquingKeysWith: +)
      .max { ($0.value, $0.key) < ($1.value, $1.key) }?.key
  }
}
