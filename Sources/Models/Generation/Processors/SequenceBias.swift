public import Tensors

/// Adds a number to the score of the token that would complete a sequence.
///
/// A single token's number is always added; where one is named twice, the last counts.
public struct SequenceBias: LogitsProcessor {
  /// A sequence and what is added to the score of its last token behind the others.
  public struct Entry: Equatable, Sendable {
    /// Tokens, at least one.
    public var ids: [Int]
    /// What is added; minus infinity forbids the sequence.
    public var bias: Double

    /// Makes an entry.
    ///
    /// - Parameters:
    ///   - ids: Tokens, at least one.
    ///   - bias: What is added.
    public init(ids: [Int], bias: Double) {
      self.ids = ids
      self.bias = bias
    }
  }

  /// Sequences of one length.
  private struct Group {
    let beginnings: Tensor  // [sequences, length - 1]
    let lasts: Tensor  // [sequences]
    let biases: Tensor  // [sequences]
  }

  private let always: Tensor  // [vocabulary]
  private let groups: [Group]

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - entries: Sequences of tokens of the vocabulary.
  ///   - context: The rows.
  public init(_ entries: [Entry], _ context: ProcessorContext) {
    var last: [[Int]: Double] = [:]
    var order: [[Int]] = []
    for entry in entries where last.updateValue(entry.bias, forKey: entry.ids) == nil {
      order.append(entry.ids)
    }
    func numbers(_ values: [Double]) -> Tensor {
      Tensor(values.map { Float($0) }).to(device: context.device)
    }
    var single = Array(repeating: 0.0, count: context.vocabularySize)
    for (ids, bias) in last where ids.count == 1 { single[ids[0]] = bias }
    always = numbers(single)
    let long = order.filter { $0.count > 1 }
    var counts: [Int] = []
    for sequence in long where !counts.contains(sequence.count) { counts.append(sequence.count) }
    groups = counts.map { count in
      let sequences = long.filter { $0.count == count }
      return Group(
        beginnings: Tensor(
          sequences.flatMap { $0.dropLast() }, shape: [sequences.count, count - 1]
        ).to(device: context.device),
        lasts: Tensor(sequences.map { $0[count - 1] }).to(device: context.device),
        biases: numbers(sequences.map { last[$0] ?? 0 }))
    }
  }

  /// Adds the numbers of the sequences that could be completed.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    let bias = scores.zerosLike() + always
    let length = ids.size(1)
    for group in groups {
      let count = group.beginnings.size(1)
      guard count <= length else { continue }
      let ends = ids.narrowed(1, length - count..<length).unsqueezed(1)  // [rows, 1, count]
      let differences = (ends .== group.beginnings).negated().sum([2])  // [rows, sequences]
      let added = Tensor.choosing(
        differences .== 0, group.biases.unsqueezed(0), group.biases.zerosLike().unsqueezed(0))
      bias.addInPlace(1, at: group.lasts, added)
    }
    return scores + bias
  }
}
