import Tensors

/// One token after the other for each row: the best one, or one that is drawn.
struct TokenSearch {
  private let generation: TextGeneration
  private let input: GenerationInput
  private let state: any DecodingState
  private let rules: LogitsProcessors
  private let prompts: [[Int]]
  private let room: [Int]

  init(_ generation: TextGeneration, _ input: GenerationInput, _ state: any DecodingState) {
    self.generation = generation
    self.input = input
    self.state = state
    let copies = generation.configuration.returnCount
    rules = generation.rules(input.context(copies: copies, state))
    prompts = input.rows.flatMap { Array(repeating: $0, count: copies) }
    room = input.room.flatMap { Array(repeating: $0, count: copies) }
  }

  func run(_ onToken: (_ row: Int, _ token: Int) -> Bool) throws(ModelError) -> [[GeneratedText]] {
    let c = generation.configuration
    let copies = c.returnCount
    let rows = Array(prompts.indices)
    var texts = rows.map { GeneratedText(prompt: $0 / copies) }
    var open = Set(rows.filter { room[$0] > 0 })
    for row in rows where !open.contains(row) { texts[row].ending = .length }
    var ids = input.ids
    var newest = ids
    let drawing = TokenDrawing(generation, rows: rows.count, state.device)
    let filler = c.filler(vocabularySize: state.vocabularySize)
    var (isFirst, goesOn) = (true, true)
    while goesOn, !open.isEmpty {
      var scores = state.scores(after: newest).to(.float32)
      if copies > 1, isFirst {
        let places = rows.map { $0 / copies }
        state.keep(rows: places)
        let repeated = Tensor(places).to(device: state.device)
        scores = scores.selecting(0, repeated)
        ids = ids.selecting(0, repeated)
      }
      isFirst = false
      let probabilities = generation.alternativeCount.map {
        TokenProbabilities(scores, alternatives: $0)
      }
      let ruled = rules(scores, after: ids)
      let best = BestTokens(ruled)
      try check(best.scores, open)
      var tokens = c.samples ? drawing.next(ruled, open).array(of: Int.self) : best.tokens
      let isLate = generation.isLate
      let writing = rows.filter(open.contains)
      if let probabilities {
        var noted = writing.map { texts[$0] }
        probabilities.note(writing.map { tokens[$0] }, rows: writing, in: &noted)
        for (row, text) in zip(writing, noted) { texts[row] = text }
      }
      for row in writing {
        texts[row].ids.append(tokens[row])
        let ending = generation.ending(
          of: texts[row].ids, behind: prompts[row], room: room[row], isLate: isLate)
        if let ending {
          texts[row].ending = ending
          open.remove(row)
        }
        goesOn = onToken(row, tokens[row])
        if !goesOn { break }
      }
      guard goesOn, !open.isEmpty else { break }
      for row in rows where !open.contains(row) { tokens[row] = filler }
      newest = Tensor(tokens, shape: [rows.count, 1]).to(device: state.device)
      ids = .concatenated([ids, newest], dimension: 1)
    }
    return stride(from: 0, to: texts.count, by: copies).map { Array(texts[$0..<$0 + copies]) }
  }

  /// Checks that there is something to choose in each open row, by the largest score of each.
  private func check(_ best: [Float], _ open: Set<Int>) throws(ModelError) {
    for row in open {
      if best[row].isNaN { throw .input("the model's scores are not numbers (NaN)") }
      if best[row] == -.infinity {
        throw .input("every token is forbidden by the rules of generation")
      }
      if best[row] == .infinity, generation.configuration.samples {
        throw .input(
          "a token's score is infinite by the rules of generation, which cannot be drawn")
      }
    }
  }
}

/// Draws tokens, each row from a random sequence of its own.
final class TokenDrawing {
  private let generators: [Generator]

  init(_ generation: TextGeneration, rows: Int, _ device: Device) {
    generators =
      generation.configuration.samples
      ? (0..<rows).map { generation.generator(row: $0, device) } : []
  }

  /// One token for each open row, int64 `[rows]`; the best one for the others, which nobody looks at.
  func next(_ scores: Tensor, _ open: Set<Int>) -> Tensor {
    let probabilities = scores.softmax()
    let tokens = generators.indices.map { row in
      let own = probabilities.narrowed(0, row..<row + 1)
      return open.contains(row)
        ? own.multinomial(1, generator: generators[row]).reshaped([1]) : own.indexOfMaximum()
    }
    return .concatenated(tokens, dimension: 0)
  }
}
