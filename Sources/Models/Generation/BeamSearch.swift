import Foundation
import Tensors

/// The best texts of several that are followed at once for each prompt.
///
/// A text's score is the sum of the logarithms of its tokens' probabilities behind all rules. At each
/// step the best candidates of all beams of a prompt are looked at, so many that enough of them do not
/// end. Those that end and are among the best `beamCount` are finished texts, whose score is divided by
/// their length to the power of the length penalty; the others go on. Additions and divisions are made
/// in float32 in transformers' order, so that ties fall as there.
struct BeamSearch {
  private static let hopeless: Float = -1e9

  /// The texts of one prompt.
  private struct Beams {
    var running: [GeneratedText]
    var runningScores: [Float]
    var finished: [GeneratedText?]
    var finishedScores: [Float]
    /// Whether a running text may still become better than a finished one.
    var canImprove = true

    var isFull: Bool { finished.allSatisfy { $0 != nil } }
  }

  /// A text of a prompt with one token more.
  private struct Candidate {
    let parent: Int
    let score: Float
    let text: GeneratedText
    let ending: GeneratedText.Ending?
  }

  private let generation: TextGeneration
  private let c: GenerationConfiguration
  private let input: GenerationInput
  private let state: any DecodingState
  private let rules: LogitsProcessors
  private let prompts: [[Int]]
  private let candidateCount: Int
  private let generators: [Generator]

  init(_ generation: TextGeneration, _ input: GenerationInput, _ state: any DecodingState) {
    self.generation = generation
    c = generation.configuration
    self.input = input
    self.state = state
    rules = generation.rules(input.context(copies: c.beamCount, state))
    prompts = input.rows
    candidateCount = min(
      max(2, 1 + c.endOfTextIDs.count) * c.beamCount, c.beamCount * state.vocabularySize)
    generators =
      c.samples ? input.room.indices.map { generation.generator(row: $0, state.device) } : []
  }

  func run() throws(ModelError) -> [[GeneratedText]] {
    let count = c.beamCount
    guard input.room.contains(where: { $0 > 0 }) else { return nothing() }
    var all = prompts.indices.map { prompt in
      Beams(
        running: Array(repeating: GeneratedText(prompt: prompt), count: count),
        // At first all beams are the same: only one may go on.
        runningScores: [0] + Array(repeating: Self.hopeless, count: count - 1),
        finished: Array(repeating: nil, count: count),
        finishedScores: Array(repeating: Self.hopeless, count: count),
        canImprove: input.room[prompt] > 0)
    }
    var scores = state.scores(after: input.ids).to(.float32)
    let copies = prompts.indices.flatMap { Array(repeating: $0, count: count) }
    state.keep(rows: copies)
    let places = Tensor(copies).to(device: state.device)
    scores = scores.selecting(0, places)
    var ids = input.ids.selecting(0, places)
    var length = 0
    while true {
      let candidates = try candidates(scores, ids, all)
      length += 1
      var parents: [Int] = []
      for prompt in all.indices {
        let next = nextRunning(candidates[prompt])
        parents += next.map { prompt * count + candidates[prompt][$0].parent }
        finish(candidates[prompt], length: length, &all[prompt])
        all[prompt].running = next.map { candidates[prompt][$0].text }
        all[prompt].runningScores = next.map { runningScore(candidates[prompt][$0]) }
        updateHope(&all[prompt], prompt: prompt, length: length)
      }
      let isDone =
        !all.contains { $0.canImprove }
        || (c.earlyStopping == .whenFull && all.allSatisfy { $0.isFull || !$0.canImprove })
        || candidates.allSatisfy { $0.allSatisfy { $0.ending != nil } }
      if isDone { break }
      state.keep(rows: parents)
      let tokens = all.flatMap { $0.running.map { $0.ids[length - 1] } }
      let newest = Tensor(tokens, shape: [tokens.count, 1]).to(device: state.device)
      ids = .concatenated(
        [ids.selecting(0, Tensor(parents).to(device: state.device)), newest], dimension: 1)
      scores = state.scores(after: newest).to(.float32)
    }
    return all.indices.map { prompt in
      guard input.room[prompt] > 0 else { return nothing()[prompt] }
      return zip(all[prompt].finished, all[prompt].finishedScores).prefix(c.returnCount)
        .compactMap { text, score in
          var text = text
          text?.score = Double(score)
          return text
        }
    }
  }

  /// Empty texts, where there is no room for more.
  private func nothing() -> [[GeneratedText]] {
    prompts.indices.map { prompt in
      var text = GeneratedText(prompt: prompt)
      text.ending = .length
      return Array(repeating: text, count: c.returnCount)
    }
  }

  /// The best ways to go on, by prompt; of those that are drawn, in the order of drawing.
  private func candidates(
    _ scores: Tensor, _ ids: Tensor, _ all: [Beams]
  ) throws(ModelError) -> [[Candidate]] {
    let (count, size) = (c.beamCount, scores.size(1))
    let logarithms = rules(scores.logSoftmax(), after: ids)
    let before = Tensor(all.flatMap(\.runningScores), shape: [all.count, count, 1])
    let sums = (logarithms.reshaped([all.count, count, size]) + before.to(device: state.device))
      .reshaped([all.count, count * size])
    for best in c.samples ? sums.max(-1).array(of: Float.self) : [] where !best.isFinite {
      throw .input(
        best == -.infinity
          ? "every token is forbidden by the rules of generation"
          : "scores are infinite or not numbers (NaN), from which nothing can be drawn")
    }
    let (values, places) = c.samples ? drawn(sums) : sums.largest(candidateCount)
    let (numbers, indices) = (values.array(of: Float.self), places.array(of: Int.self))
    for prompt in all.indices where all[prompt].canImprove {
      let own = numbers[prompt * candidateCount..<(prompt + 1) * candidateCount]
      if own.contains(where: \.isNaN) { throw .input("the model's scores are not numbers (NaN)") }
      if own.allSatisfy({ $0 == -.infinity }) {
        throw .input("every token is forbidden by the rules of generation")
      }
    }
    let isLate = generation.isLate
    var texts = indices.enumerated().map { index, place in
      all[index / candidateCount].running[place / size]
    }
    if let alternatives = generation.alternativeCount {
      TokenProbabilities(scores, alternatives: alternatives).note(
        indices.map { $0 % size },
        rows: indices.enumerated().map { $0 / candidateCount * count + $1 / size }, in: &texts)
    }
    return all.indices.map { prompt in
      (prompt * candidateCount..<(prompt + 1) * candidateCount).map { index in
        var text = texts[index]
        text.ids.append(indices[index] % size)
        let ending = generation.ending(
          of: text.ids, behind: prompts[prompt], room: input.room[prompt], isLate: isLate)
        text.ending = ending ?? .stopped
        return Candidate(
          parent: indices[index] / size, score: numbers[index], text: text, ending: ending)
      }
    }
  }

  /// Candidates drawn without putting back, each prompt's from a random sequence of its own.
  private func drawn(_ sums: Tensor) -> (values: Tensor, indices: Tensor) {
    let probabilities = sums.softmax()
    let places = Tensor.concatenated(
      generators.enumerated().map { row, generator in
        probabilities.narrowed(0, row..<row + 1).multinomial(
          candidateCount, replacement: false, generator: generator)
      }, dimension: 0)
    return (sums.gathered(1, places), places)
  }

  /// What a candidate brings into the next step: as good as nothing when it has ended.
  private func runningScore(_ candidate: Candidate) -> Float {
    candidate.ending == nil ? candidate.score : candidate.score + Self.hopeless
  }

  /// The candidates that go on.
  private func nextRunning(_ candidates: [Candidate]) -> [Int] {
    Tensor(candidates.map(runningScore)).largest(c.beamCount).indices.array(of: Int.self)
  }

  /// Takes texts that ended among the finished ones, of which the best stay.
  private func finish(_ candidates: [Candidate], length: Int, _ beams: inout Beams) {
    let divisor = Float(pow(Double(length), c.lengthPenalty))
    let isClosed = c.earlyStopping == .whenFull && beams.isFull
    var texts = beams.finished
    var scores = beams.finishedScores
    for (rank, candidate) in candidates.enumerated() {
      let hasEnded = candidate.ending != nil && rank < c.beamCount
      var score = candidate.score / divisor
      if isClosed { score += Self.hopeless }
      if !beams.canImprove { score += Self.hopeless }
      if !hasEnded { score += Self.hopeless }
      texts.append(hasEnded ? candidate.text : nil)
      scores.append(score)
    }
    let best = Tensor(scores).largest(c.beamCount).indices.array(of: Int.self)
    beams.finished = best.map { texts[$0] }
    beams.finishedScores = best.map { scores[$0] }
  }

  /// Whether the best running text could beat a finished one.
  private func updateHope(_ beams: inout Beams, prompt: Int, length: Int) {
    let isLongest = c.earlyStopping == .never && c.lengthPenalty > 0
    let final = isLongest ? input.room[prompt] : length
    let best = beams.runningScores[0] / Float(pow(Double(final), c.lengthPenalty))
    let worst = beams.finishedScores.min() ?? Self.hopeless
    let isBetter = beams.finished.contains { best > ($0 == nil ? Self.hopeless : worst) }
    beams.canImprove = beams.canImprove && isBetter && length < input.room[prompt]
  }
}
