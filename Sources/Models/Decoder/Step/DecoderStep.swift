import CKernels
import Layers
import Tensors

/// The blocks of a decoder for one new position of each of few rows, by kernels on the processor.
///
/// It computes what the blocks do, with sums in another order: a product reads its weight once, where it
/// lies; attention reads the cache where it lies; nothing is allocated from block to block.
final class DecoderStep {
  private let blocks: [BlockStep]
  private let norm: StepNorm
  private let configuration: DecoderConfiguration
  private var buffers: StepBuffers?

  /// Nil where a part of the decoder has no kernel, or where something acts on whole passes.
  ///
  /// - Parameter model: The decoder. Changes of what its layers compute with, from now on, are not seen.
  init?(_ model: DecoderModel) {
    guard model.companion == nil, !model.dropout.isOn else { return nil }
    var made: [BlockStep] = []
    for layer in model.layers {
      guard let block = BlockStep(layer) else { return nil }
      made.append(block)
    }
    blocks = made
    norm = StepNorm(model.norm)
    configuration = model.configuration
  }

  /// Whether it can go through the blocks with this pass.
  ///
  /// - Parameters:
  ///   - x: What the first block reads, `[batch, length, hiddenSize]`.
  ///   - context: The pass.
  /// - Returns: Whether types, places and numbers of rows are those of the kernels.
  func fits(_ x: Tensor, _ context: DecoderContext) -> Bool {
    x.size(1) == 1 && x.size(0) <= FewRows.most && x.dtype == .float32 && x.device.kind == .cpu
      && !isRecordingGradients && context.cache != nil
      && context.masks.values.allSatisfy { $0.scores == nil }
      && context.rotations.values.allSatisfy { $0.cosine.dtype == .float32 }
  }

  /// Hidden states behind the last norm, `[batch, 1, hiddenSize]`; the cache gets the new position, but
  /// is not advanced.
  func callAsFunction(_ x: Tensor, _ context: DecoderContext, _ cache: KeyValueCache) -> Tensor {
    let rows = x.size(0)
    if buffers?.rows != rows { buffers = StepBuffers(rows: rows, configuration) }
    guard let buffers else { preconditionFailure("DecoderStep: no buffers") }
    buffers.stream.copyInPlace(from: x.reshaped([rows, -1]))
    let position = StepPosition(context, cache, rows: rows)
    for (index, block) in blocks.enumerated() { block(buffers, position, layer: index) }
    let result = Tensor.empty([rows, 1, configuration.hiddenSize], dtype: .float32)
    norm(buffers.stream, into: result)
    return result
  }
}

/// Working memory of a step, for all blocks.
final class StepBuffers {
  // B rows, D hidden size, H query heads, K key/value heads, I intermediate size.
  let rows: Int
  /// The residual stream, `[B, D]`.
  let stream: Tensor
  /// What projections read, `[B, D]`; two, as blocks may need both.
  let read: Tensor
  /// What a branch gives, `[B, D]`.
  let branch: Tensor
  let normedBranch: Tensor
  /// `[B, H * head size]`.
  let query: Tensor
  /// `[B, K * head size]`.
  let key: Tensor
  let value: Tensor
  /// What attention gathers, `[B, H * head size]`.
  let gathered: Tensor
  /// Outputs of matrices that hold several: query, key and value, or gate and up.
  let joined: Tensor
  /// `[B, I]`.
  let gate: Tensor
  let up: Tensor

  init(rows: Int, _ c: DecoderConfiguration) {
    self.rows = rows
    func room(_ width: Int) -> Tensor { Tensor.empty([rows, width], dtype: .float32) }
    let (wide, narrow) = (c.headCount * c.headSize, c.keyValueHeadCount * c.headSize)
    (stream, read, branch, normedBranch) = (
      room(c.hiddenSize), room(c.hiddenSize), room(c.hiddenSize), room(c.hiddenSize)
    )
    (query, gathered, key, value) = (room(wide), room(wide), room(narrow), room(narrow))
    joined = room(max(wide + 2 * narrow, 2 * c.intermediateSize))
    (gate, up) = (room(c.intermediateSize), room(c.intermediateSize))
  }
}

/// What a step's blocks need of the pass.
struct StepPosition {
  let context: DecoderContext
  let cache: KeyValueCache
  /// Keys that can be seen, the new one among them.
  let keyLength: Int
  /// For each window: 1 where a key is seen, uint8 `[batch or 1, keyLength]`; nil for all.
  private let visible: [Int?: Tensor?]
  /// Cosines and sines, float32 `[batch or 1, width]`.
  let rotations: [RopeConfiguration: (cosine: Tensor, sine: Tensor)]

  init(_ context: DecoderContext, _ cache: KeyValueCache, rows: Int) {
    self.context = context
    self.cache = cache
    let keyLength = cache.length + 1
    self.keyLength = keyLength
    visible = context.masks.mapValues { mask in
      mask.visible.map { $0.reshaped([-1, keyLength]).contiguous() }
    }
    rotations = context.rotations.mapValues { ($0.cosine.contiguous(), $0.sine.contiguous()) }
  }

  func visible(layer: Int) -> Tensor? {
    visible[context.configuration.slidingWindows[layer]] ?? nil
  }

  func rotation(layer: Int) -> (cosine: Tensor, sine: Tensor)? {
    context.configuration.ropes[layer].flatMap { rotations[$0] }
  }
}
