import Foundation
import Models
import Tensors
import TestSupport
import Testing

@Suite struct SamplingTests {
  private let scores = Tensor([2.0, 1.0, 0.0, -1.0, 1.0], shape: [1, 5]).to(.float32)

  private func kept(_ configuration: SamplingConfiguration) -> [Int] {
    let filtered = TokenSampler(configuration).filtered(scores).array(of: Double.self)
    return filtered.indices.filter { filtered[$0] > -.infinity }
  }

  @Test func filters() {
    #expect(kept(SamplingConfiguration(topK: 0)) == [0, 1, 2, 3, 4])
    #expect(kept(SamplingConfiguration(topK: 1)) == [0])
    // A tie with the last one stays.
    #expect(kept(SamplingConfiguration(topK: 2)) == [0, 1, 4])
    // Probabilities: 0.521, 0.192, 0.070, 0.026, 0.192 (e^2, e, 1, 1/e, e over their sum).
    #expect(kept(SamplingConfiguration(topK: 0, topP: 0.45)) == [0])
    #expect(kept(SamplingConfiguration(topK: 0, topP: 0.9)) == [0, 1, 4])
    #expect(kept(SamplingConfiguration(topK: 0, topP: 0.95)) == [0, 1, 2, 4])
    // The best token stays however small the share.
    #expect(kept(SamplingConfiguration(topK: 0, topP: 1e-9)) == [0])
  }

  @Test func temperatureDividesScores() {
    let configuration = SamplingConfiguration(temperature: 0.5, topK: 0)
    expectClose(TokenSampler(configuration).filtered(scores), (scores - 2.0) * 2.0)
    // However small, no infinities and no NaN come of it.
    let cold = SamplingConfiguration(temperature: 1e-39, topK: 0, seed: 3)
    #expect(TokenSampler(cold).next(scores).array(of: Int.self) == [0])
  }

  /// Shares of 20,000 draws lie within five standard deviations of the probabilities.
  @Test func drawsFollowTheProbabilities() {
    let sampler = TokenSampler(SamplingConfiguration(topK: 0, seed: 11))
    let count = 20_000
    var seen = [Double](repeating: 0, count: 5)
    for _ in 0..<count { seen[sampler.next(scores).array(of: Int.self)[0]] += 1 }
    for (share, probability) in zip(seen, scores.softmax().array(of: Double.self)) {
      let deviation = (probability * (1 - probability) / Double(count)).squareRoot()
      #expect(abs(share / Double(count) - probability) < 5 * deviation)
    }
  }

  /// A row's draws are its own, whatever batch it is in.
  @Test func rowsAreIndependentOfTheBatch() {
    let configuration = SamplingConfiguration(topK: 0, seed: 5)
    let rows = Tensor.concatenated(Array(repeating: scores, count: 4), dimension: 0)
    let together = TokenSampler(configuration)
    let apart = (0..<4).map { TokenSampler(configuration, firstRow: $0) }
    var columns: [[Int]] = []
    for _ in 0..<30 {
      let drawn = together.next(rows).array(of: Int.self)
      #expect(drawn == apart.flatMap { $0.next(scores).array(of: Int.self) })
      columns.append(drawn)
    }
    #expect(Set((0..<4).map { row in columns.map { $0[row] } }).count == 4)
  }

  @Test func seedDecides() {
    func draws(_ seed: UInt64) -> [Int] {
      let sampler = TokenSampler(SamplingConfiguration(topK: 0, seed: seed))
      return (0..<40).flatMap { _ in sampler.next(scores).array(of: Int.self) }
    }
    #expect(draws(1) == draws(1))
    #expect(draws(1) != draws(2))
  }
}
