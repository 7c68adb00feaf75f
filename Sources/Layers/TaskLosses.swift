public import Tensors

/// Summed cross entropy of scores: the sum over rows with a label of log(sum(exp(z))) - z[label], in
/// float32.
///
/// ## Shapes
/// - scores: `[rows, classes]`; labels: int64 `[rows]`.
///
/// - Parameters:
///   - scores: z.
///   - labels: Right classes, or `ignoredLabel`.
/// - Returns: A scalar in float32, zero when no row has a label.
public func summedCrossEntropy(_ scores: Tensor, labels: Tensor) -> Tensor {
  let asked = (labels .!= Double(ignoredLabel)).nonzeroIndices().reshaped([-1])
  let answers = labels.selecting(0, asked).unsqueezed(1)
  let chosen = scores.selecting(0, asked).to(.float32)
  return (chosen.logSumExp(-1, keepDimension: true) - chosen.gathered(1, answers)).sum()
}

/// Summed binary cross entropy of scores of independent classes: the sum over rows of the mean over
/// classes of log(1 + exp(z)) - y z, in float32.
///
/// ## Shapes
/// - scores and targets: `[rows, classes]`.
///
/// - Parameters:
///   - scores: z.
///   - targets: y, in 0...1.
/// - Returns: A scalar in float32.
public func summedBinaryCrossEntropy(_ scores: Tensor, targets: Tensor) -> Tensor {
  let z = scores.to(.float32)
  return (z.softplus() - targets.to(.float32) * z).mean([-1]).sum()
}

/// Summed squared error of predictions: the sum over rows of the mean over values of (z - y)^2, in
/// float32.
///
/// ## Shapes
/// - predictions and targets: `[rows, values]`.
///
/// - Parameters:
///   - predictions: z.
///   - targets: y.
/// - Returns: A scalar in float32.
public func summedSquaredError(_ predictions: Tensor, targets: Tensor) -> Tensor {
  let error = predictions.to(.float32) - targets.to(.float32)
  return (error * error).mean([-1]).sum()
}
