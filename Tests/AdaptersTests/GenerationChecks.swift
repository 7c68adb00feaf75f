import Models
import Tensors
import TestSupport
import Testing

/// Expects that generation with its caches, also of rows of different lengths, gives the tokens that
/// whole passes without a cache give, one row at a time.
func expectSameTokens(
  _ model: DecoderForCausalLM, sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let prompts = [[5, 9, 70], [11, 12, 13, 14, 15, 201], [99]]
  let found = try model.generate(prompts: prompts, maximumNewTokens: 8, endOfTextIDs: [])
  for (prompt, tokens) in zip(prompts, found) {
    var row = prompt
    for _ in 0..<8 {
      let scores = withoutGradients {
        model.logits(DecoderInput(ids: Tensor(row, shape: [1, row.count])))
      }
      let last = scores.narrowed(1, row.count - 1..<row.count).reshaped([-1])
      row.append(last.indexOfMaximum(0).array(of: Int.self)[0])
    }
    #expect(tokens == Array(row.dropFirst(prompt.count)), sourceLocation: sourceLocation)
  }
}
