import Layers
import Tensors

extension EncoderDecoderForConditionalGeneration: GenerativeModel {
  /// Tokens that `config.json` names for texts.
  public var textTokens: TextTokens {
    TextTokens(
      endIDs: configuration.endIDs, paddingID: configuration.paddingID,
      decoderStartID: configuration.decoderStartID)
  }

  /// Checks that the encoder can read a row.
  ///
  /// - Parameters:
  ///   - ids: The row's tokens.
  ///   - room: Not counted: what is written has positions of its own.
  /// - Throws: ``ModelError/input(_:)`` for an empty or too long row and an id outside the vocabulary.
  public func check(_ ids: [Int], room: Int) throws(ModelError) { try check(ids) }

  /// What writing begins with: sources padded on the right for the encoder, and the start token in
  /// each row of the decoder.
  ///
  /// - Parameters:
  ///   - prompts: Checked ids of each source.
  ///   - configuration: Lengths, which count what is written with the start token, and special tokens;
  ///     without a start token that of `config.json` is taken.
  /// - Returns: The rows, and a state that has read nothing.
  /// - Throws: ``ModelError/configuration(path:key:expected:actual:)`` for a start token outside the
  ///   vocabulary.
  public func beginning(
    _ prompts: [[Int]], _ configuration: GenerationConfiguration
  ) throws(ModelError) -> (input: GenerationInput, state: any DecodingState) {
    let (own, c) = (self.configuration, configuration)
    let start = c.decoderStartID ?? own.decoderStartID
    guard start < own.vocabularySize else {
      throw .configuration(
        path: "generation", key: "decoder_start_token_id",
        expected: "a token id below \(own.vocabularySize)", actual: "\(start)")
    }
    let width = prompts.map(\.count).max() ?? 0
    let filler = c.paddingID.flatMap { $0 < own.vocabularySize ? $0 : nil } ?? own.paddingID
    let source = Tensor(
      prompts.flatMap { $0 + Array(repeating: filler, count: width - $0.count) },
      shape: [prompts.count, width]
    ).to(device: device)
    var mask: Tensor?
    if prompts.contains(where: { $0.count < width }) {
      let shown = prompts.flatMap { row in (0..<width).map { $0 < row.count ? 1 : 0 } }
      mask = Tensor(shown, shape: [prompts.count, width]).to(device: device)
    }
    // Virtual tokens that are keys and values have positions of the decoder.
    let model: any Module = self
    let prompt = (model as? any PromptableModel)?.prompt
    let virtual = prompt?.kind == .keysAndValues ? prompt?.length ?? 0 : 0
    let room = min(c.room(behind: 1), own.maximumLength.map { max(0, $0 - 1 - virtual) } ?? .max)
    let state = EncoderDecoderState(self, source: source, mask: mask, capacity: min(room, 127) + 1)
    let ids = Tensor(prompts.map { _ in start }, shape: [prompts.count, 1]).to(device: device)
    return (
      GenerationInput(
        ids: ids, padding: prompts.map { _ in 0 }, room: prompts.map { _ in room },
        encoderIDs: source), state
    )
  }
}
