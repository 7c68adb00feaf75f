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
    precondition(head != nil, "summedLoss: \(task.rawValue) has no loss")
    switch labels {
    case .answers(let start, let end):
      let (scores, leading) = positionScores(input)
      return (answerLoss(scores, start: start, end: end, leading: leading), 1)
    case .values(let values):
      return summedLoss(ofRows: rowScores(input), values: values)
    case .classes(let classes) where task == .sequenceClassification:
      return summedLoss(ofRows: rowScores(input), classes: classes)
    case .classes(let classes):
      let (scores, labels) = scores(input, askedBy: classes)
      return (summedCrossEntropy(scores, labels: labels), labels.count)
    }
  }

  /// What the head gives where something is asked, which costs nothing elsewhere.
  ///
  /// - Parameters:
  ///   - input: Ids, masks and segments.
  ///   - classes: int64 `[batch, length]`, classes or tokens; `ignoredLabel` where nothing is asked.
  /// - Returns: Scores, `[asked, outputs]`, and labels, int64 `[asked]`, of the positions in their order.
  public func scores(_ input: TaskInput, askedBy classes: Tensor) -> (
    scores: Tensor, labels: Tensor
  ) {
    guard let head else { preconditionFailure("scores: \(task.rawValue) has no head") }
    let flat = classes.reshaped([-1])
    let asked = (flat .!= Double(ignoredLabel)).nonzeroIndices().reshaped([-1])
    let (states, right) = (states(input), flat.selecting(0, asked))
    if task == .tokenClassification, backbone.dropout.acts(backbone.dropoutRates.tokenHead) {
      // Of whole rows something is dropped, as in transformers.
      return (scored(states).rows().selecting(0, asked), right)
    }
    return (head(states.rows().selecting(0, asked)), right)
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

  /// The loss of answers: the mean of that of first and of last positions.
  ///
  /// - Parameters:
  ///   - scores: `[batch, length, 2]`, as ``positionScores(_:)`` gives them.
  ///   - start: int64 `[batch]`, first positions; those behind the row count for nothing.
  ///   - end: int64 `[batch]`, last positions.
  ///   - leading: Positions of virtual tokens in front of the row, from which `start` and `end` are not
  ///     counted.
  /// - Returns: A scalar in float32, the mean over rows.
  public func answerLoss(
    _ scores: Tensor, start: Tensor, end: Tensor, leading: Int = 0
  ) -> Tensor {
    func moved(_ places: Tensor) -> Tensor {
      leading == 0 ? places : (places + Double(leading)).to(.int64)
    }
    return
      (answerLoss(scores.selected(-1, 0), moved(start))
      + answerLoss(scores.selected(-1, 1), moved(end))) / 2
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
