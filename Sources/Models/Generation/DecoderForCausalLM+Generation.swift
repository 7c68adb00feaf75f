import Tensors

extension DecoderForCausalLM: GenerativeModel {
  /// The decoder's.
  public var rowObserver: ((_ rows: [Int]) -> Void)? {
    get { model.rowObserver }
    set { model.rowObserver = newValue }
  }

  /// Continues prompts.
  ///
  /// Rows of different lengths are padded on the left. A row ends with a token that ends texts, which
  /// is the last of its result, with a stop string, or where there is no room left: by the
  /// configuration, or by the model's own limit, for which padding does not count.
  ///
  /// - Parameters:
  ///   - prompts: Ids of each prompt, at least one each.
  ///   - generation: How tokens are chosen, what ends a row, what is returned.
  ///   - prefix: Keys and values of what prompts begin with. What all prompts share with it is not
  ///     computed again; a single prompt without beams leaves its own tokens there. Not where rows
  ///     have adapters of their own.
  ///   - onToken: Called with row and token as soon as each is known, where there are no beams; return
  ///     false to stop all.
  /// - Returns: For each prompt the texts that the configuration asks for, best first.
  /// - Throws: ``ModelError`` when a prompt is empty, has an id outside the vocabulary, or is longer
  ///   than the model allows, when settings exclude each other, or when the model's scores are not
  ///   numbers.
  public func generate(
    _ prompts: [[Int]], _ generation: TextGeneration, prefix: PrefixCache? = nil,
    onToken: (_ row: Int, _ token: Int) -> Bool = { _, _ in true }
  ) throws(ModelError) -> [[GeneratedText]] {
    guard !prompts.isEmpty else { return [] }
    for prompt in prompts { try check(prompt, room: 1) }
    let c = generation.configuration
    let isSingle = prompts.count == 1 && c.beamCount == 1 && c.returnCount == 1
    let (input, state) = beginning(prompts, c, prefix, isOwned: isSingle)
    let results = try generation.run(input, state, onToken: onToken)
    let (cache, virtual) = (state.cache, model.prompt?.length ?? 0)
    if let prefix, isSingle, canReusePrefixes, cache.length > virtual {
      prefix.store(
        Array((prompts[0] + (results[0].first?.ids ?? [])).prefix(cache.length - virtual)), cache)
    }
    return results
  }

  /// What continuing prompts begins with; see ``GenerativeModel/beginning(_:_:)``.
  ///
  /// - Parameters:
  ///   - prompts: Checked ids of each prompt.
  ///   - configuration: Lengths and the token that fills rows.
  /// - Returns: Prompts padded on the left, and a state that has read nothing.
  public func beginning(
    _ prompts: [[Int]], _ configuration: GenerationConfiguration
  ) -> (input: GenerationInput, state: any DecodingState) {
    beginning(prompts, configuration, nil, isOwned: false)
  }

  private func beginning(
    _ prompts: [[Int]], _ c: GenerationConfiguration, _ prefix: PrefixCache?, isOwned: Bool
  ) -> (input: GenerationInput, state: DecoderState) {
    let width = prompts.map(\.count).max() ?? 0
    let padding = prompts.map { width - $0.count }
    let virtual = model.prompt?.length ?? 0
    // Each row may go on to the model's limit, padding not counted.
    let limit = configuration.maximumLength - virtual
    let room = prompts.map { min(c.room(behind: width), limit - $0.count) }
    let capacity = virtual + width + (room.max() ?? 0)
    let filler = c.filler(vocabularySize: configuration.vocabularySize)
    let ids = Tensor(
      zip(prompts, padding).flatMap { Array(repeating: filler, count: $1) + $0 },
      shape: [prompts.count, width])
    let shared = reusableCount(prefix, prompts)
    prefix?.reusedCount = shared
    let cache =
      prefix?.take(shared, virtual: virtual, capacity: capacity, isOwned: isOwned)
      ?? KeyValueCache(layerCount: configuration.layerCount, capacity: capacity)
    // Rules for what an encoder read are for the prompt here, as in transformers.
    let read = ids.to(device: device)
    return (
      GenerationInput(ids: read, padding: padding, room: room, encoderIDs: read),
      DecoderState(self, padding: padding, cache: cache, prefixLength: shared)
    )
  }

  /// Tokens that `config.json` names for texts.
  public var textTokens: TextTokens {
    TextTokens(endIDs: configuration.endOfTextIDs, paddingID: configuration.paddingID)
  }

  /// How many first tokens of prompts can be taken over.
  private func reusableCount(_ prefix: PrefixCache?, _ prompts: [[Int]]) -> Int {
    guard let prefix, canReusePrefixes else { return 0 }
    let isPadded = Set(prompts.map(\.count)).count > 1
    // Windows count padding that stands between the prefix and the rest.
    if isPadded, configuration.slidingWindows.contains(where: { $0 != nil }) { return 0 }
    return prefix.sharedCount(prompts)
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
