import Layers
import Tensors

extension DecoderForCausalLM {
  /// Continues prompts token by token.
  ///
  /// Rows of different lengths are padded on the left. A row ends with an end-of-text token, which
  /// is the last of its result, or after `maximumNewTokens`.
  ///
  /// - Parameters:
  ///   - prompts: Ids of each prompt, at least one each.
  ///   - maximumNewTokens: Most tokens to add to each.
  ///   - sampling: How tokens are chosen.
  ///   - endOfTextIDs: Tokens that end a row.
  ///   - firstRow: Number of the first prompt among all that are sampled with one seed: each row has
  ///     a random sequence of its own, whatever batch it is in.
  ///   - onToken: Called with row and token as soon as each is known; return false to stop all.
  /// - Returns: The new tokens of each row.
  /// - Throws: ``ModelError/input(_:)`` when a prompt is empty, has an id outside the vocabulary, or
  ///   is longer than the model allows, or when the model's scores are not numbers.
  public func generate(
    prompts: [[Int]], maximumNewTokens: Int, sampling: SamplingConfiguration = .greedy,
    endOfTextIDs: Set<Int>, firstRow: Int = 0,
    onToken: (_ row: Int, _ token: Int) -> Bool = { _, _ in true }
  ) throws(ModelError) -> [[Int]] {
    guard !prompts.isEmpty else { return [] }
    for prompt in prompts { try check(prompt, room: 1) }
    let width = prompts.map(\.count).max() ?? 0
    // Each row may go on to the model's limit, padding not counted.
    let virtual = model.prompt?.length ?? 0
    let limit = configuration.maximumLength - virtual
    let room = prompts.map { min(maximumNewTokens, limit - $0.count) }
    let capacity = virtual + width + (room.max() ?? 0)
    let results: [[Int]]? = withoutGradients {
      let sampler = TokenSampler(sampling, firstRow: firstRow)
      let cache = KeyValueCache(layerCount: configuration.layerCount, capacity: capacity)
      let isPadded = prompts.contains { $0.count < width }
      let padding = configuration.paddingID ?? 0
      var ids = Tensor(
        prompts.flatMap { Array(repeating: padding, count: width - $0.count) + $0 },
        shape: [prompts.count, width]
      ).to(device: device)
      var mask =
        isPadded
        ? Tensor(
          prompts.flatMap { prompt in
            (0..<width).map { $0 < width - prompt.count ? 0 : 1 }
          }, shape: [prompts.count, width]
        ).to(device: device) : nil
      var positions = mask.map { ($0.cumulativeSum() + -1.0).clamped(lower: 0).to(.int64) }
      var results = prompts.map { _ in [Int]() }
      var open = Set(prompts.indices.filter { room[$0] > 0 })
      while !open.isEmpty {
        let hidden = model(DecoderInput(ids: ids, mask: mask, positions: positions), cache: cache)
        let last = hidden.narrowed(1, hidden.size(1) - 1..<hidden.size(1))
        let scores = head(last).reshaped([prompts.count, -1]).to(.float32)
        guard !scores.max().item().isNaN else { return nil }
        let chosen = sampler.next(scores)
        for (row, token) in chosen.array(of: Int.self).enumerated() where open.contains(row) {
          results[row].append(token)
          if endOfTextIDs.contains(token) || results[row].count == room[row] { open.remove(row) }
          if !onToken(row, token) { return results }
        }
        ids = chosen.unsqueezed(1)
        if let current = mask {
          mask = Tensor.concatenated(
            [current, Tensor.ones([prompts.count, 1], dtype: .int64, device: device)], dimension: 1)
          positions = positions.map { $0.narrowed(1, $0.size(1) - 1..<$0.size(1)) + 1.0 }
            .map { $0.to(.int64) }
        }
      }
      return results
    }
    guard let results else { throw .input("the model's scores are not numbers (NaN)") }
    return results
  }

  /// Checks that ids can be given to this model, behind its prompt where there is one.
  ///
  /// - Parameters:
  ///   - ids: Ids of one row.
  ///   - room: How many positions must be left.
  /// - Throws: ``ModelError/input(_:)`` naming what is wrong.
  public func check(_ ids: [Int], room: Int = 0) throws(ModelError) {
    guard !ids.isEmpty else { throw .input("a row has no tokens") }
    if let bad = ids.first(where: { $0 < 0 || $0 >= configuration.vocabularySize }) {
      throw .input("token id \(bad) is outside the vocabulary of \(configuration.vocabularySize)")
    }
    let virtual = model.prompt?.length ?? 0
    guard virtual + ids.count + room <= configuration.maximumLength else {
      throw .input(
        "\(ids.count) tokens \(virtual > 0 ? "and \(virtual) virtual ones " : "")are more than the "
          + "model's limit of \(configuration.maximumLength)")
    }
  }
}
