import Layers
public import Tensors

extension DecoderForCausalLM {
  /// Summed cross entropy of the labels, each predicted from the positions before it.
  ///
  /// Behind virtual tokens that are embeddings the first label of a row is asked too, and a prompt can
  /// have labels of its own, as in PEFT. Where gradients are recorded, a companion's states may be
  /// asked for the same labels, with their share in the sum. The sum is then scaled so that dividing by
  /// ``targetCount(of:)`` gives PEFT's mean over all that was asked.
  ///
  /// - Parameters:
  ///   - batch: Ids, positions and masks.
  ///   - labels: int64 `[batch, length]`, not shifted; `ignoredLabel` where nothing is asked. Without
  ///     virtual tokens the first position of a row is never asked.
  /// - Returns: A scalar in float32. Divide by ``targetCount(of:)`` for the mean.
  public func summedLoss(_ batch: DecoderInput, labels: Tensor) -> Tensor {
    let joined = model.joinedRows(batch)
    let (states, leading) = withScope(.layer, configuration.names.decoder) {
      model.states(batch, joined: joined)
    }
    let rows = states.rows()
    guard leading > 0 else {
      let own = crossEntropy(rows, labels, joined)
      guard isRecordingGradients, let more = model.companion?.takeSupervised() else { return own }
      return own + crossEntropy(more.states.to(states.dtype).rows(), labels) * more.weight
    }
    let own = model.prompt?.targets
    let before = Tensor(
      own?.labels ?? Array(repeating: ignoredLabel, count: leading), shape: [1, leading])
    let all = Tensor.concatenated(
      [before.to(labels.dtype).to(device: labels.device).expanded([labels.size(0), -1]), labels],
      dimension: 1)
    let share =
      Double(max(1, Self.targetCount(of: labels))) / Double(max(1, Self.targetCount(of: all)))
    guard let weights = own?.weights, weights.contains(where: { $0 != 1 }) else {
      return crossEntropy(rows, all) * share
    }
    let everywhere = weights + Array(repeating: 1, count: labels.size(1))
    let sums = Set(everywhere).sorted().map { weight in
      let others = Tensor(everywhere.map { $0 == weight ? 0.0 : 1.0 }, shape: [1, all.size(1)])
      let mask = (others .!= 0).to(device: all.device)
      return crossEntropy(rows, all.filled(where: mask, Double(ignoredLabel))) * weight
    }
    return sums.dropFirst().reduce(sums[0]) { $0 + $1 } * share
  }

  /// Summed cross entropy of rows of hidden states, each asked for the label behind it.
  private func crossEntropy(
    _ rows: Tensor, _ labels: Tensor, _ joined: JoinedRows? = nil
  ) -> Tensor {
    withScope(.layer, "lm_head") { headLoss(rows, labels, joined) }
  }

  private func headLoss(_ rows: Tensor, _ labels: Tensor, _ joined: JoinedRows?) -> Tensor {
    // Position t is asked for the label at t + 1; the last one for nothing.
    let all = Tensor.concatenated(
      [
        labels.narrowed(1, 1..<labels.size(1)),
        Tensor.full(
          [labels.size(0), 1], Double(ignoredLabel), dtype: .int64, device: labels.device),
      ], dimension: 1
    ).reshaped([-1])
    let shifted = joined?.chosen(all) ?? all
    if let dense = head.projection as? DenseProjection, dense.bias == nil,
      configuration.logitsDivisor == 1, configuration.logitsSoftcap == nil
    {
      return model.pass.exit {
        linearCrossEntropy(
          rows, weight: dense.weight.value, labels: shifted,
          fused: model.usesFusedLayers, products: lossProducts, kept: keptWordCodes)
      }
    }
    let asked = (shifted .!= Double(ignoredLabel)).nonzeroIndices().reshaped([-1])
    let answers = shifted.selecting(0, asked).unsqueezed(1)
    let scores = scores(rows.selecting(0, asked)).to(.float32)
    return (scores.logSumExp(-1, keepDimension: true) - scores.gathered(1, answers)).sum()
  }
}
