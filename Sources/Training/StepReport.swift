import Foundation
import JSONValues

/// One logged row of a run.
public struct StepReport: Sendable {
  /// Updates made.
  public let step: Int
  /// Updates of the whole run.
  public let totalSteps: Int
  /// Updates that an earlier process made.
  public let startStep: Int
  /// Passes over the data, with a fraction.
  public let epoch: Double
  /// Mean loss for each target since the last row.
  public let loss: Double
  /// Learning rate of the last update.
  public let learningRate: Double
  /// Joint length of the gradients of the last update, before clipping.
  public let gradientNorm: Double
  /// Tokens since the start, without padding.
  public let tokens: Int
  /// Tokens a second since the last row.
  public let tokensPerSecond: Double
  /// Seconds since the start of this process's part of the run.
  public let seconds: Double

  /// The row of `metrics.jsonl`.
  var row: JSON {
    [
      "step": .integer(step), "epoch": .number(epoch), "loss": .number(loss),
      "learning_rate": .number(learningRate), "gradient_norm": .number(gradientNorm),
      "tokens": .integer(tokens), "tokens_per_second": .number(tokensPerSecond),
      "seconds": .number(seconds), "peak_memory_bytes": .integer(PeakMemory.bytes),
    ]
  }
}

/// Means and rates between logged rows.
struct Meter {
  private let start = Date()
  private let startStep: Int
  private let totalSteps: Int
  private var lastReport = Date()
  private(set) var tokens: Int
  private var newTokens = 0
  private(set) var losses: [Double]
  private(set) var lastLoss: Double

  /// A meter that goes on from a saved position.
  init(_ position: TrainingCheckpoint.Position, totalSteps: Int) {
    startStep = position.step
    self.totalSteps = totalSteps
    tokens = position.tokens
    losses = position.pendingLosses
    lastLoss = position.lastLoss
  }

  mutating func add(loss: Double, tokens added: Int) {
    losses.append(loss)
    tokens += added
    newTokens += added
  }

  mutating func report(
    step: Int, epoch: Double, learningRate: Double, gradientNorm: Double
  ) -> StepReport {
    let now = Date()
    lastLoss = losses.reduce(0, +) / Double(max(losses.count, 1))
    let report = StepReport(
      step: step, totalSteps: totalSteps, startStep: startStep, epoch: epoch, loss: lastLoss,
      learningRate: learningRate, gradientNorm: gradientNorm, tokens: tokens,
      tokensPerSecond: Double(newTokens) / max(now.timeIntervalSince(lastReport), 1e-9),
      seconds: now.timeIntervalSince(start))
    losses = []
    newTokens = 0
    lastReport = now
    return report
  }
}
