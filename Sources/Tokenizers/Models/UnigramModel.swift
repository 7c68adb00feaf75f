import JSONValues

/// The tokens of the likeliest spelling of a word under a unigram model.
///
/// The scores are logarithms of probabilities; a character without a token of its own costs ten more
/// than the worst token. On ties the spelling stays whose last token begins first. Neighbouring
/// unknown characters are one token. With byte fallback they become the bytes of their spelling.
/// Where the reference fails because it needs the unknown token and has none, they vanish here.
///
/// Source: Kudo (2018), as in Hugging Face's `tokenizers`.
struct UnigramModel: TokenModel {
  let vocabulary: Vocabulary
  private let scores: [Double]
  private let unknownID: Int?
  private let unknownScore: Double
  private let trie: ByteTrie
  /// The id of `<0xXX>` for each byte, or -1; empty without byte fallback.
  private let fallback: [Int32]

  var cachesWords: Bool { true }

  init(_ component: ComponentReader) throws(TokenizerError) {
    let reader = try component.required("vocab")
    let items = try reader.elements()
    var vocabulary = Vocabulary(capacity: items.count)
    var scores: [Double] = []
    scores.reserveCapacity(items.count)
    for (id, item) in items.enumerated() {
      guard let pair = item.json.arrayValue, pair.count == 2, let token = pair[0].stringValue,
        let score = pair[1].doubleValue
      else { throw item.problem("expected a token and its score") }
      vocabulary.insert(token, id: id)
      scores.append(score)
    }
    var unknownID: Int?
    if let unknown = component.optional("unk_id") {
      let id = try unknown.integerValue()
      guard scores.indices.contains(id) else {
        throw unknown.problem("is \(id), but there are \(scores.count) tokens")
      }
      unknownID = id
    }
    var trie = ByteTrie(capacity: items.count * 4)
    for id in scores.indices {
      _ = vocabulary.withBytes(of: id) { token in
        // Of equal tokens the last one counts, as in the vocabulary.
        if vocabulary.id(of: token) == id { trie.insert(token, value: Int32(id)) }
      }
    }
    self.vocabulary = vocabulary
    self.scores = scores
    self.unknownID = unknownID
    self.trie = trie
    unknownScore = (scores.min() ?? .infinity) - 10
    fallback =
      try component.bool("byte_fallback", default: false) ? vocabulary.byteFallbackIDs : []
  }

  func encode(word: UnsafeBufferPointer<UInt8>, with workspace: EncodingWorkspace) {
    guard search(word, &workspace.lattice) else { return }
    // From the end of the word to its start, unknown neighbours joined.
    var pieces = workspace.lattice.pieces
    pieces.removeAll(keepingCapacity: true)
    var end = word.count
    var wasUnknown = false
    while end > 0 {
      let node = workspace.lattice.nodes[end]
      let isUnknown = unknownID != nil && Int(node.id) == unknownID
      if isUnknown && wasUnknown {
        pieces[pieces.count - 1].start = Int(node.start)
      } else {
        pieces.append(UnigramLattice.Piece(start: Int(node.start), end: end, id: node.id))
      }
      wasUnknown = isUnknown
      end = Int(node.start)
    }
    for piece in pieces.reversed() { append(piece, of: word, to: workspace) }
    workspace.lattice.pieces = pieces
  }

  private func append(
    _ piece: UnigramLattice.Piece, of word: UnsafeBufferPointer<UInt8>,
    to workspace: EncodingWorkspace
  ) {
    func append(_ id: Int32, isLiteral: Bool) {
      workspace.ids.append(id)
      guard workspace.measures else { return }
      workspace.ranges.append(TokenRange(piece.start, piece.end, isLiteral: isLiteral))
    }
    if Int(piece.id) != unknownID {
      append(piece.id, isLiteral: false)
      return
    }
    let text = word.slice(piece.start, piece.end)
    if let id = vocabulary.id(of: text) {
      append(Int32(id), isLiteral: false)
    } else if !fallback.isEmpty, text.allSatisfy({ fallback[Int($0)] >= 0 }) {
      for byte in text { append(fallback[Int(byte)], isLiteral: false) }
    } else {
      append(piece.id, isLiteral: true)
    }
  }

  /// Finds the best way to each place of the word; false if some character has no token at all.
  private func search(
    _ word: UnsafeBufferPointer<UInt8>, _ lattice: inout UnigramLattice
  ) -> Bool {
    lattice.reset(count: word.count + 1)
    return lattice.nodes.withUnsafeMutableBufferPointer { nodes in
      var start = 0
      while start < word.count {
        let width = word.scalar(at: start).width
        let scoreHere = nodes[start].score
        var hasSingle = false
        trie.forEachPrefix(of: word, from: start) { id, end in
          let score = scores[Int(id)] + scoreHere
          if nodes[end].start < 0 || score > nodes[end].score {
            nodes[end] = .init(score: score, start: Int32(start), id: id)
          }
          if end - start == width { hasSingle = true }
        }
        if !hasSingle {
          guard let unknownID else { return false }
          let score = unknownScore + scoreHere
          if nodes[start + width].start < 0 || score > nodes[start + width].score {
            nodes[start + width] = .init(
              score: score, start: Int32(start), id: Int32(unknownID))
          }
        }
        start += width
      }
      return true
    }
  }
}

/// The best way to each place of a word.
struct UnigramLattice {
  struct Node {
    var score: Double = 0
    /// Where the last token begins; -1 as long as there is no way here.
    var start: Int32 = -1
    var id: Int32 = -1
  }

  struct Piece {
    var start: Int
    var end: Int
    var id: Int32
  }

  var nodes: [Node] = []
  var pieces: [Piece] = []

  mutating func reset(count: Int) {
    nodes.removeAll(keepingCapacity: true)
    nodes.append(contentsOf: repeatElement(Node(), count: count))
  }
}
