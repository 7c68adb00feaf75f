public import Layers
public import Tensors

/// What takes part in every pass of a decoder, beside its blocks.
public protocol PassCompanion: AnyObject {
  /// Called before the blocks of a pass.
  ///
  /// - Parameters:
  ///   - batch: Ids, positions and masks; with a cache, only the new positions.
  ///   - cache: Keys and values of earlier positions; ``KeyValueCache/companion(layerCount:)`` gives one
  ///     of the companion's own beside it.
  /// - Returns: What goes from block to block beside the hidden states, `[batch, length, ...]`; nil to
  ///   stay out of this pass.
  func begin(_ batch: DecoderInput, cache: KeyValueCache?) -> Tensor?

  /// Runs one block.
  ///
  /// Where activations are computed again, this is called a second time in the backward pass.
  ///
  /// - Parameters:
  ///   - index: The block's number.
  ///   - x: Hidden states, `[batch, length, hiddenSize]`.
  ///   - carried: What goes beside them.
  ///   - block: The block itself, to be called once.
  /// - Returns: Hidden states behind the block and, where it changes, what goes beside them; not
  ///   `carried` itself.
  func run(
    _ index: Int, _ x: Tensor, carried: Tensor, block: (Tensor) -> Tensor
  ) -> [Tensor]

  /// Parameters that ``run(_:_:carried:block:)`` uses beside those of the block itself.
  ///
  /// - Parameter index: The block's number.
  /// - Returns: Parameters, trainable or not.
  func parameters(ofBlock index: Int) -> [Parameter]

  /// States of the last pass that the output head asks for the labels too; each is given once.
  ///
  /// - Returns: `[batch, length, hiddenSize]` and their share in the loss; nil for none.
  func takeSupervised() -> (states: Tensor, weight: Double)?
}

extension PassCompanion {
  /// None.
  ///
  /// - Parameter index: The block's number.
  /// - Returns: Nothing.
  public func parameters(ofBlock index: Int) -> [Parameter] { [] }

  /// None.
  ///
  /// - Returns: Nil.
  public func takeSupervised() -> (states: Tensor, weight: Double)? { nil }
}

/// A model in whose passes a companion can take part.
public protocol AccompaniedModel: AdaptableModel {
  /// The decoder.
  var decoder: DecoderModel { get }
  /// Paths of its blocks, in their order.
  var blockPaths: [String] { get }
}

extension DecoderForCausalLM: AccompaniedModel {
  /// The model without its head.
  public var decoder: DecoderModel { model }

  /// As the family calls them, for example "model.layers.0".
  public var blockPaths: [String] {
    let names = configuration.names
    return (0..<configuration.layerCount).map { "\(names.decoder).\(names.layers).\($0)" }
  }
}
