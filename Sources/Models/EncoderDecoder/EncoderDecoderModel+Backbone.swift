import Layers
import Tensors

extension EncoderDecoderModel: Backbone {
  var modelType: String { configuration.modelType }
  var vocabularySize: Int { configuration.vocabularySize }
  var tokenTypeCount: Int { 0 }
  var maximumLength: Int { configuration.maximumLength ?? Int(Int32.max) }
  var positionCount: Int { maximumLength }
  var paddingID: Int? { configuration.paddingID }

  var dropoutRates: DropoutRates { configuration.dropout }
  /// Where there is a decoder they stand before its own; an encoder alone has no place for them.
  var takesKeysAndValues: Bool { decoder != nil }

  /// Sizes of the configuration; keys and values are the decoder's, for as many blocks as PEFT counts,
  /// the encoder's, unless the decoder has more.
  var promptShape: PromptShape {
    let (c, decoder) = (configuration, configuration.decoder)
    return PromptShape(
      hiddenSize: c.hiddenSize, vocabularySize: c.vocabularySize,
      layerCount: max(c.encoder.layerCount, decoder.layerCount), headCount: decoder.headCount,
      keyValueHeadCount: decoder.headCount, headSize: decoder.headSize,
      maximumLength: c.maximumLength ?? Int(Int32.max), submoduleCount: 2)
  }

  /// The decoder's states for the row itself behind the start token, or those of an encoder alone.
  ///
  /// As in transformers nothing hides padding from the decoder unless a mask of its own does.
  func allStates(of input: TaskInput) -> (states: Tensor, leading: Int) {
    let states = encode(input.ids, mask: input.mask, taskIDs: input.taskIDs)
    guard decoder != nil else { return (states, states.size(1) - input.ids.size(1)) }
    let written = decode(
      input.decoderIDs ?? shiftedRight(input.ids), states: states, mask: input.mask,
      decoderMask: input.decoderMask)
    return (written, 0)
  }

  func tokenEmbeddings(_ ids: Tensor) -> Tensor {
    pass.entry { encoder.tokenEmbeddings(ids, of: shared) }
  }

  /// No row has keys and values here before an encoder has read another one: methods that ask for this
  /// are refused before.
  func keysAndValues(of ids: [Int]) -> Tensor {
    preconditionFailure("keysAndValues: a model with encoder and decoder")
  }

  /// The decoder's state at the row's last token that ends a text.
  func pooled(_ states: Tensor, leading: Int, _ input: TaskInput) -> Tensor {
    let places = Tensor.arange(0, input.ids.size(1), device: states.device).unsqueezed(0)
    var isEnd = input.ids .== Double(configuration.endIDs.first ?? -1)
    for id in configuration.endIDs.dropFirst() { isEnd = isEnd .| (input.ids .== Double(id)) }
    let last = (places * isEnd.to(.int64)).indexOfMaximum(-1)  // [B]
    return
      states
      .gathered(1, last.reshaped([-1, 1, 1]).expanded([-1, 1, states.size(2)])).squeezed(1)
  }

  func checkPooling(_ ids: [Int]) throws(ModelError) {
    guard !ids.contains(where: configuration.endIDs.contains) else { return }
    throw .input(
      "a row has no token that ends a text (\(configuration.endIDs.map(String.init).joined(separator: ", "))"
        + "), at which \(modelType) classifies rows; put it behind each")
  }
}
