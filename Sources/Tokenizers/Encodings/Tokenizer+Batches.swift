import Dispatch
import Foundation

extension Tokenizer {
  /// Turns many texts into ids, on all processors.
  ///
  /// - Parameters:
  ///   - texts: The texts.
  ///   - addSpecialTokens: Whether the post-processor's special tokens are put around the ids.
  ///   - parseSpecialTokens: Whether special tokens that occur in the texts become their ids.
  /// - Returns: The ids of each text.
  public func encodeBatch(
    _ texts: [String], addSpecialTokens: Bool = true, parseSpecialTokens: Bool = true
  ) -> [[Int]] {
    texts.mapConcurrently {
      self.encode($0, addSpecialTokens: addSpecialTokens, parseSpecialTokens: parseSpecialTokens)
    }
  }

  /// Turns many texts or pairs into ids, tokens and offsets, on all processors.
  ///
  /// - Parameters:
  ///   - inputs: The texts, each with a second one or none.
  ///   - addSpecialTokens: Whether the post-processor's special tokens are added.
  ///   - parseSpecialTokens: Whether special tokens that occur in the texts become their ids.
  ///   - truncation: How the ids are cut; they are not when it is nil.
  ///   - padding: How the ids are filled up, all encodings together; they are not when it is nil.
  ///   - unit: What offsets count.
  /// - Returns: The encoding of each text or pair.
  /// - Throws: `TokenizerError.impossibleTruncation` when the rule leaves no room or cannot be met.
  public func encodings(
    of inputs: [(text: TokenizerInput, pair: TokenizerInput?)], addSpecialTokens: Bool = true,
    parseSpecialTokens: Bool = true, truncation: Truncation? = nil, padding: Padding? = nil,
    unit: OffsetUnit = .scalars
  ) throws(TokenizerError) -> [Encoding] {
    let results = inputs.mapConcurrently {
      input -> Result<Encoding, TokenizerError> in
      do throws(TokenizerError) {
        return .success(
          try self.encoding(
            of: input.text, pair: input.pair, addSpecialTokens: addSpecialTokens,
            parseSpecialTokens: parseSpecialTokens, truncation: truncation, unit: unit))
      } catch {
        return .failure(error)
      }
    }
    var encodings: [Encoding] = []
    encodings.reserveCapacity(results.count)
    for result in results { encodings.append(try result.get()) }
    padding?.apply(to: &encodings)
    return encodings
  }

  /// Turns many lists of ids into texts, on all processors.
  ///
  /// - Parameters:
  ///   - lists: The ids of each text; those that are not in the vocabulary are left out.
  ///   - skipSpecialTokens: Whether special tokens are left out.
  /// - Returns: The texts.
  public func decodeBatch(_ lists: [[Int]], skipSpecialTokens: Bool = false) -> [String] {
    lists.mapConcurrently { self.decode($0, skipSpecialTokens: skipSpecialTokens) }
  }
}

extension Array where Element: Sendable {
  /// The results of `body` in order, computed by as many threads as there are processors.
  fileprivate func mapConcurrently<Result: Sendable>(
    _ body: @escaping @Sendable (Element) -> Result
  ) -> [Result] {
    let processors = ProcessInfo.processInfo.activeProcessorCount
    guard count > 1, processors > 1 else { return map(body) }
    // Several parts for each processor, because texts are of different lengths.
    let partCount = Swift.min(count, processors * 8)
    let parts = ConcurrentParts<Result>(count: partCount)
    DispatchQueue.concurrentPerform(iterations: partCount) { part in
      let range = count * part / partCount..<count * (part + 1) / partCount
      parts.set(self[range].map(body), at: part)
    }
    return parts.joined()
  }
}

/// The parts of a result, which several threads hand in.
private final class ConcurrentParts<Element: Sendable>: @unchecked Sendable {
  private let lock = NSLock()
  private var parts: [[Element]]

  init(count: Int) { parts = Array(repeating: [], count: count) }

  func set(_ part: [Element], at index: Int) { lock.withLock { parts[index] = part } }

  func joined() -> [Element] { Array(parts.joined()) }
}
