import Datasets
import Training

/// Progress of a run on standard error: a bar on a terminal, lines in a pipe, a curve at the end.
final class TrainingProgress {
  private let display: ProgressDisplay
  private var losses: [(step: Int, loss: Double)] = []

  init(totalSteps: Int, isQuiet: Bool) {
    display = ProgressDisplay(kind: isQuiet ? .quiet : nil, totalSteps: totalSteps)
  }

  func begin(_ report: EncodingReport, _ model: any TrainableModel, _ trainer: Trainer) {
    display.message(model.trainableParametersDescription())
    display.message("\(report)")
    display.message(
      "\(trainer.totalSteps) steps"
        + (trainer.warmupSteps > 0 ? ", \(trainer.warmupSteps) of them to warm up" : ""))
  }

  func start(_ step: Int, isResumed: Bool) {
    guard isResumed else { return }
    display.message(
      step > 0
        ? "going on after step \(step)" : "no checkpoint was written yet: starting over")
  }

  func step(_ report: StepReport) {
    losses.append((report.step, report.loss))
    display.update(
      step: report.step, loss: report.loss, tokensPerSecond: report.tokensPerSecond,
      seconds: report.seconds, startStep: report.startStep)
  }

  func evaluation(_ step: Int, _ figures: [(name: String, value: Double)]) {
    let text = figures.filter { $0.name != "perplexity" }
      .map { "\($0.name) \($0.value.fixed(4))" }.joined(separator: ", ")
    display.message("evaluation after step \(step): \(text)")
  }

  /// Draws the loss curve of this process's part of the run, where there is one to see.
  func end() {
    display.finish()
    guard display.kind == .live, losses.count > 2 else { return }
    display.message("\n" + LossChart().text(of: losses) + "\n")
  }
}
