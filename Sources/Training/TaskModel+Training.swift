public import Datasets
import Foundation
import Layers
public import Models
public import Tensors

extension TaskModel: LossModel {
  /// What rows are filled up with; a mask hides it.
  public var fillingID: Int32 { Int32(paddingID ?? 0) }

  /// Summed loss of a batch.
  ///
  /// - Parameter batch: Rows with targets, or with labels that are asked at their own positions.
  /// - Returns: A scalar in float32.
  public func summedLoss(_ batch: TokenBatch) -> Tensor {
    let (found, count) = summedLoss(batch.taskInput(on: device), labels: taskLabels(of: batch))
    // That of answers is a mean.
    return task == .questionAnswering ? found * Double(batch.rowCount) / Double(count) : found
  }

  /// Loss, and how right the model is.
  ///
  /// By the task those are ``ClassificationFigures``, ``TokenFigures``, or perplexity and accuracy of
  /// hidden tokens. Answers need their texts: see ``AnswerFigures``.
  ///
  /// - Parameters:
  ///   - examples: The data.
  ///   - batchSize: Rows of a batch.
  ///   - share: The batches of this process.
  /// - Returns: Names and figures.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func figures(
    of examples: [TokenizedExample], batchSize: Int, share: EvaluationShare
  ) throws -> [(name: String, value: Double)] {
    switch task {
    case .questionAnswering:
      return [
        ("loss", try positionScores(of: examples, batchSize: batchSize, share: share).loss)
      ]
    case .tokenClassification:
      let found = try tokenAnswers(of: examples, batchSize: batchSize, share: share)
      let figures = TokenFigures(
        answers: found.answers, rights: examples.map(\.askedLabels), names: labels?.names ?? [])
      return [("loss", found.loss)] + figures.all
    case .maskedLM:
      let found = try tokenAnswers(of: examples, batchSize: batchSize, share: share)
      let pairs = zip(found.answers.joined(), examples.map(\.askedLabels).joined())
      let count = Double(max(found.answers.reduce(0) { $0 + $1.count }, 1))
      return [
        ("loss", found.loss), ("perplexity", exp(found.loss)),
        ("accuracy", Double(pairs.count { $0 == $1 }) / count),
      ]
    default:
      let results = try results(of: examples, batchSize: batchSize, share: share)
      return [("loss", results.loss)] + results.figures.all
    }
  }

  /// Loss, outputs and figures of examples that are asked as a whole, from one pass over them.
  ///
  /// - Parameters:
  ///   - examples: Rows with targets.
  ///   - batchSize: Rows of a batch.
  ///   - share: The batches of this process.
  /// - Returns: The mean loss, one list of outputs for each example in their order, and how right they
  ///   are.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func results(
    of examples: [TokenizedExample], batchSize: Int, share: EvaluationShare = EvaluationShare()
  ) throws -> (loss: Double, scores: [[Double]], figures: ClassificationFigures) {
    let (loss, found) = try pass(over: examples, batchSize: batchSize, share) { batch, rows in
      let found = self(batch.taskInput(on: device))
      let numbers = found.to(.float32)
      let scores = rows.indices.map { numbers.selected(0, $0).array(of: Float.self) }
      return (summedLoss(ofRows: found, labels: taskLabels(of: batch)).sum, scores)
    }
    let scores = found.map { $0.map(Double.init) }
    let figures = ClassificationFigures(
      scores: scores, targets: examples.map { $0.target ?? [] }, problem: problem(of: examples))
    return (loss, scores, figures)
  }

  /// What the model takes for right where tokens are asked.
  ///
  /// - Parameters:
  ///   - examples: Rows with labels at their own positions.
  ///   - batchSize: Rows of a batch.
  ///   - share: The batches of this process.
  /// - Returns: The mean loss of a label, and for each example the class or token with the highest score
  ///   at each asked position.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func tokenAnswers(
    of examples: [TokenizedExample], batchSize: Int, share: EvaluationShare = EvaluationShare()
  ) throws -> (loss: Double, answers: [[Int]]) {
    let (loss, found) = try pass(over: examples, batchSize: batchSize, share) { batch, rows in
      let (scores, labels) = scores(
        batch.taskInput(on: device), askedBy: batch.labelTensor(on: device))
      var best =
        labels.count == 0 ? [] : scores.indexOfMaximum(-1).array(of: Int.self)[...]
      let answers = rows.map { row in
        let count = examples[row].askedLabels.count
        defer { best = best.dropFirst(count) }
        return best.prefix(count).map { Float($0) }
      }
      return (summedCrossEntropy(scores, labels: labels), answers)
    }
    return (loss, found.map { $0.map { Int($0) } })
  }

  /// How well each position does as an answer's first and last one.
  ///
  /// - Parameters:
  ///   - examples: Rows with answers.
  ///   - batchSize: Rows of a batch.
  ///   - share: The batches of this process.
  /// - Returns: The mean loss, and for each example the scores of its positions, padding left out.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func positionScores(
    of examples: [TokenizedExample], batchSize: Int, share: EvaluationShare = EvaluationShare()
  ) throws -> (loss: Double, starts: [[Float]], ends: [[Float]]) {
    let (loss, both) = try pass(over: examples, batchSize: batchSize, share) { batch, rows in
      let (found, leading) = positionScores(batch.taskInput(on: device))
      let numbers = found.to(.float32)
      let scores = rows.enumerated().map { place, row in
        let own = numbers.selected(0, place)
          .narrowed(0, leading..<leading + examples[row].ids.count)
        return [0, 1].flatMap { own.selected(-1, $0).contiguous().array(of: Float.self) }
      }
      guard case .answers(let start, let end) = taskLabels(of: batch) else {
        preconditionFailure("positionScores: rows without answers")
      }
      let loss = answerLoss(found, start: start, end: end, leading: leading)
      return (loss * Double(rows.count), scores)
    }
    return (
      loss, both.map { Array($0.prefix($0.count / 2)) }, both.map { Array($0.suffix($0.count / 2)) }
    )
  }

  /// Runs over examples.
  ///
  /// `body` gives the summed loss of a batch, and numbers for each of its rows; what is returned is the mean
  /// loss, and the numbers of each example.
  private func pass(
    over examples: [TokenizedExample], batchSize: Int, _ share: EvaluationShare,
    _ body: (_ batch: TokenBatch, _ rows: [Int]) -> (loss: Tensor, numbers: [[Float]])
  ) throws -> (loss: Double, numbers: [[Float]]) {
    let sampler = BatchSampler(
      examples, options: BatchingOptions(batchSize: batchSize, shuffles: false),
      paddingID: fillingID)
    let plan = sampler.plan(epoch: 0)
    // Of a batch the loss, its targets, and for each row how many numbers there are, and those.
    let found = try withoutGradients {
      try share.map(plan.count) { number in
        let batch = sampler.batch(plan[number])
        let (loss, numbers) = body(batch, plan[number].map { $0[0] })
        return [loss.item(), Double(batch.targetCount)]
          + numbers.flatMap { [Double($0.count)] + $0.map(Double.init) }
      }
    }
    var numbers = Array(repeating: [Float](), count: examples.count)
    for (rows, words) in zip(plan, found) {
      var words = words.dropFirst(2)
      for row in rows {
        let count = Int(words.removeFirst())
        numbers[row[0]] = words.prefix(count).map { Float($0) }
        words = words.dropFirst(count)
      }
    }
    let sum = found.reduce(0) { $0 + $1[0] }
    return (sum / max(found.reduce(0) { $0 + $1[1] }, 1), numbers)
  }

  /// How the outputs are meant for some examples.
  ///
  /// - Parameter examples: Rows with targets.
  /// - Returns: What the labels say; else by the number of outputs and targets.
  public func problem(of examples: [TokenizedExample]) -> ProblemType {
    problem(targetCount: examples.first?.target?.count ?? 1)
  }

  private func problem(targetCount: Int) -> ProblemType {
    if let problem = labels?.problem { return problem }
    let outputs = labels?.names.count ?? 1
    return outputs == 1 ? .regression : targetCount == 1 ? .singleLabel : .multiLabel
  }

  private func taskLabels(of batch: TokenBatch) -> TaskLabels {
    guard let targets = batch.targets else { return .classes(batch.labelTensor(on: device)) }
    let width = targets.first?.count ?? 1
    let numbers = Tensor(targets.flatMap { $0 }, shape: [targets.count, width])
    if task == .questionAnswering {
      func places(_ column: Int) -> Tensor {
        numbers.selected(1, column).to(.int64).to(device: device)
      }
      return .answers(start: places(0), end: places(1))
    }
    return problem(targetCount: width) == .singleLabel
      ? .classes(numbers.reshaped([-1]).to(.int64).to(device: device))
      : .values(numbers.to(.float32).to(device: device))
  }
}

extension TokenizedExample {
  /// Labels that are asked at their own positions, in their order.
  public var askedLabels: [Int] {
    labels.compactMap { $0 == ignoredLabelID ? nil : Int($0) }
  }
}

extension TokenBatch {
  /// The batch for a model with the head of a task, which sees padding unless a mask hides it.
  func taskInput(on device: Device) -> TaskInput {
    func tensor(_ values: [Int32]) -> Tensor {
      Tensor(values, shape: [rowCount, length]).to(.int64).to(device: device)
    }
    let mask: [Int32]? =
      rowLengths.contains { $0 < length }
      ? rowLengths.flatMap { used in (0..<length).map { $0 < used ? 1 : 0 } } : nil
    return TaskInput(
      ids: tensor(ids), mask: mask.map(tensor), tokenTypes: tokenTypes.map(tensor),
      taskIDs: tasks.map { Tensor($0, shape: [rowCount]).to(device: device) })
  }
}
