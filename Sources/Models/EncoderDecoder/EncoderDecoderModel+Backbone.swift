import Tensors

extension EncoderDecoderModel: Backbone {
  var modelType: String { configuration.modelType }
  var vocabularySize: Int { configuration.vocabularySize }
  var tokenTypeCount: Int { 0 }
  var maximumLength: Int { configuration.maximumLength ?? Int(Int32.max) }
  var positionCount: Int { maximumLength }
  var paddingID: Int? { configuration.paddingID }

  /// The decoder's states for the row itself behind the start token, or those of an encoder alone.
  ///
  /// As in transformers nothing hides padding from the decoder unless a mask of its own does.
  func states(of input: TaskInput) -> Tensor {
    let states = encode(input.ids, mask: input.mask, taskIDs: input.taskIDs)
    guard decoder != nil else { return states }
    return decode(
      input.decoderIDs ?? shiftedRight(input.ids), states: states, mask: input.mask,
      decoderMask: input.decoderMask)
  }

  /// The decoder's state at the row's last token that ends a text.
  func pooled(_ states: Tensor, _ input: TaskInput) -> Tensor {
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
