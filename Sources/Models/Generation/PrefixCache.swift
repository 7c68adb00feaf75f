import Tensors

/// Keys and values of tokens that texts begin with, for use in more than one generation.
///
/// A generation takes over as many first tokens as all its prompts share with it. One of a single
/// prompt leaves its own tokens here, so that a conversation is never computed twice. It belongs to one
/// model and one state of its adapters; ``reset()`` when they change.
public final class PrefixCache {
  /// Tokens that are in the cache.
  public private(set) var ids: [Int] = []
  /// First tokens that the last generation took over.
  public internal(set) var reusedCount = 0
  private var cache: KeyValueCache?

  /// Makes an empty one.
  public init() {}

  /// Forgets everything.
  public func reset() {
    ids = []
    cache = nil
  }

  /// How many first tokens of prompts are here; at least one of each prompt is left to be read.
  func sharedCount(_ prompts: [[Int]]) -> Int {
    prompts.map { prompt in
      zip(prompt.dropLast(), ids).prefix { $0 == $1 }.count
    }.min() ?? 0
  }

  /// A cache that holds the first tokens, and virtual ones before them, in one row.
  ///
  /// With `isOwned` it is the one that is here, of which nothing else stays.
  func take(_ count: Int, virtual: Int, capacity: Int, isOwned: Bool) -> KeyValueCache? {
    guard count > 0, let cache else { return nil }
    if isOwned {
      cache.truncate(to: virtual + count)
      cache.reserve(capacity)
      ids = Array(ids.prefix(count))
      return cache
    }
    return KeyValueCache(copying: cache, count: virtual + count, capacity: capacity)
  }

  /// Takes over a cache of one row with the tokens that it holds.
  func store(_ ids: [Int], _ cache: KeyValueCache) {
    self.ids = ids
    self.cache = cache
  }
}

extension DecoderForCausalLM {
  /// Whether keys and values of tokens are the same whatever batch they come in, so that they can be
  /// used again.
  ///
  /// This is so but for adapters that look at rows as a whole.
  public var canReusePrefixes: Bool { model.companion == nil && model.rowObserver == nil }

  /// Reads tokens that prompts begin with, once for all generations that are given the result.
  ///
  /// - Parameter prompts: Prompts of a generation to come.
  /// - Returns: Keys and values of what all of them begin with; empty where they share nothing or the
  ///   model does not allow it.
  /// - Throws: ``ModelError/input(_:)`` when what they share is nothing that the model can read.
  public func sharedPrefix(of prompts: [[Int]]) throws(ModelError) -> PrefixCache {
    let result = PrefixCache()
    guard canReusePrefixes, let first = prompts.first else { return result }
    let count =
      prompts.map { prompt in
        zip(prompt.dropLast(), first.dropLast()).prefix { $0 == $1 }.count
      }.min() ?? 0
    guard count > 0 else { return result }
    let ids = Array(first.prefix(count))
    try check(ids)
    withoutGradients {
      let cache = KeyValueCache(
        layerCount: configuration.layerCount, capacity: (model.prompt?.length ?? 0) + count)
      _ = model(
        DecoderInput(ids: Tensor(ids, shape: [1, count]).to(device: device)), cache: cache)
      result.store(ids, cache)
    }
    return result
  }
}
