import JSONValues

/// Turns the pieces that a pre-tokenizer found into ids.
protocol TokenModel: Sendable {
  var vocabulary: Vocabulary { get }
  /// Whether a word has the same ids every time, and looking them up is worth while.
  var cachesWords: Bool { get }

  /// Appends the ids of one word, which is not empty, and, if the workspace measures, their ranges.
  func encode(word: UnsafeBufferPointer<UInt8>, with workspace: EncodingWorkspace)

  /// Appends the ids of every piece of the text.
  func encode(_ text: PreTokenizedText, with workspace: EncodingWorkspace)
}

extension TokenModel {
  func encode(_ text: PreTokenizedText, with workspace: EncodingWorkspace) {
    let longest = cachesWords ? WordCache.longestWord : 0
    text.text.bytes.withUnsafeBufferPointer { bytes in
      for piece in text.pieces {
        encode(known: bytes.slice(piece.start, piece.end), longest: longest, with: workspace)
      }
    }
  }

  /// Appends the ids of one word, from the cache if it is there; longer words are not kept there.
  @inline(__always)
  private func encode(
    known word: UnsafeBufferPointer<UInt8>, longest: Int, with workspace: EncodingWorkspace
  ) {
    guard word.count <= longest else {
      encode(word: word, with: workspace)
      return
    }
    let hash = workspace.words.hash(of: word)
    if workspace.words.appendIDs(of: word, hash: hash, to: &workspace.ids) { return }
    let start = workspace.ids.count
    encode(word: word, with: workspace)
    workspace.words.insert(word, hash: hash, ids: workspace.ids[start...])
  }

  /// Appends the ids of one word and their ranges, from the cache if they are there.
  func measure(word: UnsafeBufferPointer<UInt8>, with workspace: EncodingWorkspace) {
    guard cachesWords, word.count <= WordCache.longestWord else {
      encode(word: word, with: workspace)
      return
    }
    let cache = workspace.measuredWords
    let hash = cache.hash(of: word)
    workspace.packed.removeAll(keepingCapacity: true)
    if cache.appendIDs(of: word, hash: hash, to: &workspace.packed) {
      for index in stride(from: 0, to: workspace.packed.count, by: 3) {
        workspace.ids.append(workspace.packed[index])
        workspace.ranges.append(
          TokenRange(packed: workspace.packed[index + 1], workspace.packed[index + 2]))
      }
      return
    }
    let start = workspace.ids.count
    let rangeStart = workspace.ranges.count
    encode(word: word, with: workspace)
    for (id, range) in zip(workspace.ids[start...], workspace.ranges[rangeStart...]) {
      workspace.packed.append(id)
      workspace.packed.append(range.start)
      workspace.packed.append(range.packedEnd)
    }
    cache.insert(word, hash: hash, ids: workspace.packed[...])
  }
}

/// Which bytes of a word a token stands for.
struct TokenRange: Equatable, Sendable {
  var start: Int32
  var end: Int32
  /// Whether the token is spelled as those bytes, not as the vocabulary spells its id.
  var isLiteral: Bool

  @inline(__always)
  init(_ start: Int, _ end: Int, isLiteral: Bool = false) {
    self.start = Int32(truncatingIfNeeded: start)
    self.end = Int32(truncatingIfNeeded: end)
    self.isLiteral = isLiteral
  }

  init(packed start: Int32, _ end: Int32) {
    self.start = start
    self.end = end >> 1
    isLiteral = end & 1 == 1
  }

  var packedEnd: Int32 { end << 1 | (isLiteral ? 1 : 0) }
}

/// The models that are known, by their `type` in tokenizer.json.
enum TokenModels {
  typealias Factory =
    @Sendable (_ component: ComponentReader, _ byteLevel: Bool) throws(TokenizerError)
    -> any TokenModel

  static let registry: [String: Factory] = [
    "BPE": { component, byteLevel throws(TokenizerError) in
      try BytePairModel(component, byteLevel: byteLevel)
    },
    "Unigram": { component, _ throws(TokenizerError) in try UnigramModel(component) },
    "WordLevel": { component, _ throws(TokenizerError) in try WordLevelModel(component) },
    "WordPiece": { component, _ throws(TokenizerError) in try WordPieceModel(component) },
  ]

  /// Creates the model that a file describes.
  ///
  /// `byteLevel` says that words are raw bytes which stand for characters of the byte alphabet.
  static func make(
    _ component: ComponentReader, byteLevel: Bool
  ) throws(TokenizerError) -> any TokenModel {
    let type = try component.optionalString("type") ?? untaggedType(component)
    guard let factory = registry[type] else {
      throw component.unknown(type: type, known: registry.keys)
    }
    return try factory(component, byteLevel)
  }

  /// Files of early versions leave the type out; the fields tell the models apart.
  static func untaggedType(_ component: ComponentReader) -> String {
    if component.optional("merges") != nil { return "BPE" }
    if component.optional("continuing_subword_prefix") != nil { return "WordPiece" }
    if component.optional("vocab")?.json.arrayValue != nil { return "Unigram" }
    return component.optional("unk_token") == nil ? "" : "WordLevel"
  }
}

/// Memory that encoding reuses, and the cache of words seen; used by one thread at a time.
final class EncodingWorkspace {
  /// The ids of the text so far.
  var ids: [Int32] = []
  let words = WordCache()
  var merging = MergeWorkspace()
  var lattice = UnigramLattice()

  /// Whether models append to `ranges` what they append to `ids`.
  var measures = false
  /// The range of each token within its word.
  var ranges: [TokenRange] = []
  /// The cache of measured words: for each token its id and its packed range.
  lazy var measuredWords = WordCache()
  var packed: [Int32] = []
}
