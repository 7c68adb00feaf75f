import Layers
public import Tensors

extension TaskModel {
  /// The loss of a batch, as transformers defines it for the task.
  ///
  /// - Cross entropy of classes and tokens, over those that are asked.
  /// - Of numbers the mean squared error; where there are several outputs and they are not said to be
  ///   numbers, the mean binary cross entropy of classes.
  /// - Of answers the mean of the cross entropies of first and last positions.
  ///
  /// - Parameters:
  ///   - input: Ids, masks and segments.
  ///   - labels: What is right.
  /// - Returns: The mean, a scalar in float32; zero where nothing is asked.
  public func loss(_ input: TaskInput, labels: TaskLabels) -> Tensor {
    let (sum, count) = summedLoss(input, labels: labels)
    return sum / Double(max(1, count))
  }

  /// The loss before it is divided.
  ///
  /// - Parameters:
  ///   - input: Ids, masks and segments.
  ///   - labels: What is right.
  /// - Returns: A scalar in float32, and what to divide it by for the mean.
  public func summedLoss(_ input: TaskInput, labels: TaskLabels) -> (sum: Tensor, count: Int) {
    guard let head else { preconditionFailure("summedLoss: \(task.rawValue) has no loss") }
    let states = states(input)
    switch labels {
    case .answers(let start, let end):
      let scores = head(states)  // [B, L, 2]
      let sums = [start, end].enumerated().map { place, right in
        answerLoss(scores.selected(-1, place), right)
      }
      return ((sums[0] + sums[1]) / 2, 1)
    case .values(let values):
      return summedLoss(ofRows: head(backbone.pooled(states, input)), values: values)
    case .classes(let classes) where task == .sequenceClassification:
      return summedLoss(ofRows: head(backbone.pooled(states, input)), classes: classes)
    case .classes(let classes):
      // The head is computed where something is asked.
      let flat = classes.reshaped([-1])
      let asked = (flat .!= Double(ignoredLabel)).nonzeroIndices().reshaped([-1])
      let scores = head(states.rows().selecting(0, asked))
      return (summedCrossEntropy(scores, labels: flat.selecting(0, asked)), asked.count)
    }
  }

  /// The loss of a head's outputs for rows, before it is divided.
  ///
  /// - Parameters:
  ///   - scores: `[batch, outputs]`, as the model gives them for `.sequenceClassification`.
  ///   - labels: Classes or values of the rows.
  /// - Returns: A scalar in float32, and what to divide it by for the mean.
  public func summedLoss(ofRows scores: Tensor, labels: TaskLabels) -> (sum: Tensor, count: Int) {
    switch labels {
    case .values(let values): summedLoss(ofRows: scores, values: values)
    case .classes(let classes): summedLoss(ofRows: scores, classes: classes)
    case .answers: preconditionFailure("summedLoss(ofRows:labels:): answers lie in rows")
    }
  }

  private func summedLoss(ofRows scores: Tensor, classes: Tensor) -> (sum: Tensor, count: Int) {
    if scores.size(1) == 1 || labels?.problem == .regression {
      return summedLoss(ofRows: scores, values: classes)
    }
    return (summedCrossEntropy(scores, labels: classes), askedCount(classes))
  }

  private func summedLoss(ofRows scores: Tensor, values: Tensor) -> (sum: Tensor, count: Int) {
    let problem = labels?.problem ?? (scores.size(1) == 1 ? .regression : .multiLabel)
    let targets = values.reshaped(scores.shape)
    let sum =
      problem == .regression
      ? summedSquaredError(scores, targets: targets)
      : summedBinaryCrossEntropy(scores, targets: targets)
    return (sum, scores.size(0))
  }

  /// Mean cross entropy over rows whose answer is in the row.
  private func answerLoss(_ scores: Tensor, _ right: Tensor) -> Tensor {
    let length = Double(scores.size(1))
    let places = right.reshaped([-1]).clamped(lower: 0, upper: length).to(.int64)
    let labels = places.filled(where: places .== length, Double(ignoredLabel))
    return summedCrossEntropy(scores, labels: labels) / Double(max(1, askedCount(labels)))
  }

  private func askedCount(_ labels: Tensor) -> Int {
    Int((labels .!= Double(ignoredLabel)).sum().item())
  }
}
