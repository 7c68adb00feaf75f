import Adapters
import Datasets
import Foundation
import Training

/// Progress of a run on standard error: a bar on a terminal, lines in a pipe.
final class TrainingProgress {
  private let console: Console
  private let isQuiet: Bool

  init(_ console: Console, isQuiet: Bool) {
    self.console = console
    self.isQuiet = isQuiet
  }

  func begin(_ report: EncodingReport, _ model: PeftModel, _ steps: Int) {
    guard !isQuiet else { return }
    console.log(model.trainableParametersDescription())
    console.log(
      """
      \(report.recordCount) rows, \(report.tokenCount) tokens, \(report.targetCount) count towards \
      the loss, longest \(report.longest); \(report.truncatedCount) shortened, \
      \(report.droppedCount) left out; \(steps) steps
      """)
  }

  func step(_ report: StepReport) {
    guard !isQuiet else { return }
    let rate = Double(report.step) / max(report.seconds, 1e-9)
    let left = Int(Double(report.totalSteps - report.step) / max(rate, 1e-9))
    let time = "\(left / 60):" + String(format: "%02d", left % 60)
    let text =
      "step \(report.step)/\(report.totalSteps)  loss \(report.loss.fixed(4))  "
      + "\(Int(report.tokensPerSecond)) tokens/s  \(time) left"
    guard console.isTerminal else { return console.log(text) }
    let width = 24
    let done = width * report.step / max(report.totalSteps, 1)
    let bar = String(repeating: "#", count: done) + String(repeating: ".", count: width - done)
    console.redraw("[\(bar)] \(text)")
  }

  func evaluation(_ step: Int, _ loss: Double) {
    guard !isQuiet else { return }
    if console.isTerminal { console.redraw("") }
    console.log("evaluation after step \(step): loss \(loss.fixed(4))")
  }

  func end() {
    if !isQuiet && console.isTerminal { console.redraw("") }
  }
}
