import JSONValues

/// Byte-pair encoding: a word is cut into characters, then adjacent symbols merge by rank.
///
/// Source: Sennrich, Haddow and Birch (2016), with the options of Hugging Face's `tokenizers`. With
/// `dropout` (Provilkov et al., 2020) merges are left out at random, by the system's generator.
struct BytePairModel: TokenModel {
  let vocabulary: Vocabulary
  private let merges: MergeTable
  private let unknownID: Int32?
  private let fusesUnknown: Bool
  private let ignoresMerges: Bool
  private let dropout: Float
  private let prefix: [UInt8]
  private let suffix: [UInt8]
  /// The id of `<0xXX>` for each byte, or -1; empty without byte fallback.
  private let fallback: [Int32]
  /// Set when words arrive as raw bytes instead of characters of the byte alphabet.
  private let byteLevel: ByteLevelVocabulary?

  /// Reads the object `model`.
  ///
  /// - Parameters:
  ///   - component: The object.
  ///   - byteLevel: Whether words are raw bytes that stand for characters of the byte alphabet.
  /// - Throws: `TokenizerError` when a merge names a token that is not in the vocabulary, and for
  ///   fields of the wrong type.
  init(_ component: ComponentReader, byteLevel: Bool) throws(TokenizerError) {
    vocabulary = try Vocabulary(component.required("vocab"))
    prefix = Array(try (component.optionalString("continuing_subword_prefix") ?? "").utf8)
    suffix = Array(try (component.optionalString("end_of_word_suffix") ?? "").utf8)
    fusesUnknown = try component.bool("fuse_unk", default: false)
    ignoresMerges = try component.bool("ignore_merges", default: false)
    dropout = try Self.readDropout(component)
    if let token = try component.optionalString("unk_token") {
      unknownID = vocabulary.id(of: token).map { Int32($0) }
    } else {
      unknownID = nil
    }
    fallback =
      try component.bool("byte_fallback", default: false) ? vocabulary.byteFallbackIDs : []
    merges = try Self.readMerges(
      component.required("merges"), vocabulary: vocabulary, prefixCount: prefix.count)
    if byteLevel {
      let table = ByteLevelVocabulary(vocabulary, indexesWords: ignoresMerges)
      guard let table, prefix.isEmpty, suffix.isEmpty else {
        throw component.problem(
          "a byte-level model needs all 256 characters of the byte alphabet in its vocabulary, "
            + "and neither a prefix nor a suffix")
      }
      self.byteLevel = table
    } else {
      self.byteLevel = nil
    }
  }

  /// Whether the model can take raw bytes for characters of the byte alphabet.
  static func canReadBytes(_ component: ComponentReader) -> Bool {
    let affixes = ["continuing_subword_prefix", "end_of_word_suffix"]
    guard affixes.allSatisfy({ (component.json[$0]?.stringValue ?? "").isEmpty }),
      let vocabulary = component.json["vocab"]?.objectValue
    else { return false }
    return ByteAlphabet.scalars.allSatisfy { vocabulary[String($0)] != nil }
  }

  private static func readDropout(_ component: ComponentReader) throws(TokenizerError) -> Float {
    guard let reader = component.optional("dropout") else { return 0 }
    guard let value = reader.json.doubleValue, (0...1).contains(value) else {
      throw reader.problem("is \(reader.json.serialized()), expected a number from 0 to 1")
    }
    return Float(value)
  }

  private static func readMerges(
    _ component: ComponentReader, vocabulary: Vocabulary, prefixCount: Int
  ) throws(TokenizerError) -> MergeTable {
    guard let items = component.json.arrayValue else {
      throw component.problem("expected an array")
    }
    var table = MergeTable(capacity: items.count)
    var joined: [UInt8] = []
    // The header of a merges.txt is no merge.
    let merges = items.filter { $0.stringValue?.utf8.starts(with: "#version".utf8) != true }
    for (rank, item) in merges.enumerated() {
      guard let (left, right) = parts(of: item) else {
        throw component.problem(
          "merge \(rank) is \(item.serialized()), expected two tokens")
      }
      joined.removeAll(keepingCapacity: true)
      joined.append(contentsOf: left.utf8)
      joined.append(contentsOf: right.utf8.dropFirst(prefixCount))
      guard let leftID = vocabulary.id(of: left), let rightID = vocabulary.id(of: right),
        let result = joined.withUnsafeBufferPointer({ vocabulary.id(of: $0) })
      else {
        throw component.problem(
          "merge \(rank) is \(item.serialized()), but one of its tokens or their join is not in "
            + "the vocabulary")
      }
      table.insert(Int32(leftID), Int32(rightID), rank: Int32(rank), result: Int32(result))
    }
    return table
  }

  /// A merge is either `"a b"` or `["a", "b"]`.
  private static func parts(of merge: JSON) -> (String, String)? {
    switch merge {
    case .array(let items):
      guard items.count == 2, let left = items[0].stringValue, let right = items[1].stringValue
      else { return nil }
      return (left, right)
    case .string(let text):
      let space = UInt8(ascii: " ")
      guard let first = text.utf8.firstIndex(of: space), text.utf8.lastIndex(of: space) == first
      else { return nil }
      return (String(text[..<first]), String(text[text.utf8.index(after: first)...]))
    default:
      return nil
    }
  }
}

extension BytePairModel {
  var cachesWords: Bool { dropout == 0 }

  func encode(word: UnsafeBufferPointer<UInt8>, with workspace: EncodingWorkspace) {
    if ignoresMerges && dropout == 0 {
      let whole = byteLevel.map { $0.id(of: word) } ?? vocabulary.id(of: word)
      if let whole {
        workspace.ids.append(Int32(whole))
        if workspace.measures { workspace.ranges.append(TokenRange(0, word.count)) }
        return
      }
    }
    workspace.merging.reset(measures: workspace.measures)
    if let byteLevel {
      for byte in word { workspace.merging.append(byteLevel.symbols[Int(byte)], length: 1) }
    } else {
      appendSymbols(of: word, to: &workspace.merging)
    }
    workspace.merging.mergeAll(with: merges, dropout: dropout)
    workspace.ids.append(contentsOf: workspace.merging.symbols)
    guard workspace.measures else { return }
    // A character without a token has no length: what follows it in the word moves up.
    var start = 0
    for length in workspace.merging.lengths {
      workspace.ranges.append(TokenRange(start, start + Int(length)))
      start += Int(length)
    }
  }

  /// Appends the ids of a word's characters.
  ///
  /// A character that is not in the vocabulary becomes the bytes of its spelling if all of them
  /// are there, else the unknown token, else nothing. As in the reference, an unknown token that
  /// waits to be fused comes after the bytes of a later character.
  private func appendSymbols(
    of word: UnsafeBufferPointer<UInt8>, to merging: inout MergeWorkspace
  ) {
    // The length of the unknown token that waits.
    var unknownLength: Int?
    var index = 0
    var spelling: [UInt8] = []
    while index < word.count {
      let width = word.scalar(at: index).width
      let end = index + width
      spelling.removeAll(keepingCapacity: true)
      if index > 0 { spelling.append(contentsOf: prefix) }
      spelling.append(contentsOf: word[index..<end])
      if end == word.count { spelling.append(contentsOf: suffix) }
      index = end
      if let id = spelling.withUnsafeBufferPointer({ vocabulary.id(of: $0) }) {
        if let length = unknownLength, let unknownID {
          merging.append(unknownID, length: length)
        }
        unknownLength = nil
        merging.append(Int32(id), length: width)
      } else if !fallback.isEmpty && spelling.allSatisfy({ fallback[Int($0)] >= 0 }) {
        for byte in spelling { merging.append(fallback[Int(byte)], length: 1) }
      } else if let unknownID {
        if let length = unknownLength, !fusesUnknown { merging.append(unknownID, length: length) }
        unknownLength = (fusesUnknown ? unknownLength ?? 0 : 0) + width
      }
    }
    if let length = unknownLength, let unknownID { merging.append(unknownID, length: length) }
  }
}

/// The view of a vocabulary in the byte alphabet that takes raw bytes.
private struct ByteLevelVocabulary: Sendable {
  /// The id of the character of each byte.
  let symbols: [Int32]
  /// The tokens as raw bytes; empty unless whole words are looked up.
  private var words = ByteTable()
  private var ids: [Int] = []

  /// Nil unless every character of the byte alphabet is in the vocabulary.
  init?(_ vocabulary: Vocabulary, indexesWords: Bool) {
    let known = ByteAlphabet.scalars.compactMap { vocabulary.id(of: String($0)) }
    guard known.count == 256 else { return nil }
    symbols = known.map { Int32($0) }
    guard indexesWords else { return }
    words = ByteTable(capacity: vocabulary.count)
    for id in 0..<vocabulary.upperBound {
      guard let word = vocabulary.withBytes(of: id, { ByteAlphabet.bytes(of: $0) }) ?? nil else {
        continue
      }
      if word.withUnsafeBufferPointer({ words.insert($0) }).isNew { ids.append(id) }
    }
  }

  func id(of word: UnsafeBufferPointer<UInt8>) -> Int? { words.entry(of: word).map { ids[$0] } }
}
