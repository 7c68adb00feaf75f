import JSONValues

extension GGUFTokenizer {
  /// The sections of a SentencePiece BPE.
  ///
  /// SentencePiece merges the neighbours whose union has the best score. As a list of merges that
  /// is: every way to cut a token into two tokens, ordered by descending score of the token. Spaces
  /// become U+2581, one is put before the text, and what no token spells falls back to bytes.
  func sentencePieceParts() throws(CheckpointError) -> Parts {
    let addsSpace = try fields.optionalBool("tokenizer.ggml.add_space_prefix") ?? true
    let listed = try merges()
    let merges = if let listed { listed } else { try scoredMerges() }
    let unknown = specialTokens.unknown ?? types.firstIndex(of: .unknown)
    let replace: JSON = ["type": "Replace", "pattern": ["String": " "], "content": "\u{2581}"]
    let prepend: JSON = ["type": "Prepend", "prepend": "\u{2581}"]
    let strip: JSON = ["type": "Strip", "content": " ", "start": 1, "stop": 0]
    let decoders: [JSON] = [
      ["type": "Replace", "pattern": ["String": "\u{2581}"], "content": " "],
      ["type": "ByteFallback"], ["type": "Fuse"],
    ]
    return Parts(
      normalizer: [
        "type": "Sequence", "normalizers": .array(addsSpace ? [prepend, replace] : [replace]),
      ],
      preTokenizer: nil,
      decoder: [
        "type": "Sequence", "decoders": .array(addsSpace ? decoders + [strip] : decoders),
      ],
      model: [
        "type": "BPE", "dropout": nil,
        "unk_token": unknown.map { .string(tokens[$0]) } ?? nil,
        "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": true,
        "byte_fallback": .bool(hasAllBytes), "ignore_merges": false, "vocab": vocabulary,
        "merges": .array(merges),
      ],
      addsBeginByDefault: true)
  }

  private var hasAllBytes: Bool {
    let digits = Array("0123456789ABCDEF")
    return (0..<256).allSatisfy { byte in
      ids[UTF8Key("<0x\(digits[byte / 16])\(digits[byte % 16])>")] != nil
    }
  }

  private func scoredMerges() throws(CheckpointError) -> [JSON] {
    let key = "tokenizer.ggml.scores"
    let scores = try fields.optionalArray(key, of: "a number") { value -> Float? in
      if case .float32(let score) = value, !score.isNaN { score } else { nil }
    }
    guard let scores else { throw fields.lacks(key) }
    guard scores.count == tokens.count else {
      throw .mismatch(
        path: file.path, what: key, expected: "\(tokens.count) scores, one for each token",
        actual: "\(scores.count)")
    }
    let merges = SentencePieceMerges(
      tokens: tokens, isNormal: types.map { $0 == .normal }, ids: ids, scores: scores)
    return merges.pairs.map { [.string($0.left), .string($0.right)] }
  }
}

/// The merges that the scores of a SentencePiece BPE's tokens imply.
struct SentencePieceMerges {
  /// Left and right parts, in the order in which they are tried.
  let pairs: [(left: String, right: String)]

  /// Every way to cut a normal token into two normal tokens, by descending score of the token.
  ///
  /// Ties: the longer left part first, then the longer right part, then the smaller id, which is the
  /// order of the `tokenizers` package's converter.
  init(tokens: [String], isNormal: [Bool], ids: [UTF8Key: Int], scores: [Float]) {
    func normal(_ token: String) -> Bool { ids[UTF8Key(token)].map { isNormal[$0] } ?? false }
    struct Merge {
      let left: String
      let right: String
      let leftLength: Int
      let rightLength: Int
      let score: Float
    }
    var merges: [Merge] = []
    for (id, token) in tokens.enumerated() where isNormal[id] {
      let length = token.unicodeScalars.count
      guard (2...Self.longestToken).contains(length) else { continue }
      var cut = token.startIndex
      for leftLength in 1..<length {
        cut = token.unicodeScalars.index(after: cut)
        let left = String(token[..<cut])
        guard normal(left) else { continue }
        let right = String(token[cut...])
        guard normal(right) else { continue }
        merges.append(
          Merge(
            left: left, right: right, leftLength: leftLength, rightLength: length - leftLength,
            score: scores[id]))
      }
    }
    let order = merges.indices.sorted { first, second in
      let (a, b) = (merges[first], merges[second])
      if a.score != b.score { return a.score > b.score }
      if a.leftLength != b.leftLength { return a.leftLength > b.leftLength }
      if a.rightLength != b.rightLength { return a.rightLength > b.rightLength }
      return first < second
    }
    pairs = order.map { (merges[$0].left, merges[$0].right) }
  }

  /// The longest token that is given merges, in characters.
  ///
  /// The cuts of a hostile file's token of megabytes would take quadratic time. SentencePiece itself
  /// limits pieces to 16 characters by default.
  static let longestToken = 512
}
