import JSONValues

/// The tokens of a tokenizer in the order of their ids, one for each row of the model's embedding.
struct GGUFVocabulary {
  let tokens: [String]
  let types: [GGUFTokenizer.TokenType]
  private let ids: [UTF8Key: Int]

  init(_ source: GGUFTokenizerSource, size: Int) throws(CheckpointError) {
    var found: [(text: String, type: GGUFTokenizer.TokenType)?] = Array(repeating: nil, count: size)
    func put(
      _ token: String, _ id: JSON?, _ type: GGUFTokenizer.TokenType
    ) throws(CheckpointError) {
      guard let id = id?.intValue, found.indices.contains(id) else {
        throw .mismatch(
          path: source.path, what: "the id of token \(quoted(token))",
          expected: "one of the \(size) rows of the model's embedding",
          actual: id.map { $0.serialized() } ?? "none")
      }
      if let other = found[id], !other.text.utf8.elementsEqual(token.utf8) {
        throw .mismatch(
          path: source.path, what: "the id of token \(quoted(token))", expected: "one of its own",
          actual: "\(id), which is \(quoted(other.text)) too")
      }
      found[id] = (token, type)
    }
    guard let vocabulary = source.model["vocab"]?.objectValue else {
      throw .lacks(path: source.path, what: "model.vocab, an object of tokens and ids")
    }
    let unknown = source.unknownToken
    for (token, id) in vocabulary {
      try put(token, id, token == unknown ? .unknown : Self.isByte(token) ? .byte : .normal)
    }
    for added in source.json["added_tokens"]?.arrayValue ?? [] {
      guard let token = added["content"]?.stringValue else {
        throw .lacks(path: source.path, what: "the content of an added token")
      }
      let isSpecial = added["special"]?.boolValue ?? false
      // What text may hold as a whole stays so: the unknown token is special by being that.
      let type: GGUFTokenizer.TokenType =
        token == unknown ? .unknown : isSpecial ? .control : .userDefined
      try put(token, added["id"], type)
    }
    tokens = found.enumerated().map { $1?.text ?? "[PAD\($0)]" }
    types = found.map { $0?.type ?? .unused }
    var ids: [UTF8Key: Int] = [:]
    ids.reserveCapacity(size)
    for (id, token) in tokens.enumerated() {
      if let other = ids.updateValue(id, forKey: UTF8Key(token)) {
        throw .mismatch(
          path: source.path, what: "the token of id \(id)", expected: "a token that occurs once",
          actual: "\(quoted(token)), which is also token \(other)")
      }
    }
    self.ids = ids
  }

  func id(of token: String) -> Int? { ids[UTF8Key(token)] }

  /// Whether a token is a byte that text falls back to, such as `<0x0A>`.
  private static func isByte(_ token: String) -> Bool {
    let bytes = Array(token.utf8)
    return bytes.count == 6 && token.hasPrefix("<0x") && bytes[5] == UInt8(ascii: ">")
      && bytes[3...4].allSatisfy {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
          || (UInt8(ascii: "A")...UInt8(ascii: "F")).contains($0)
      }
  }

  /// Scores that make a SentencePiece BPE merge in the order of a list of merges.
  ///
  /// The score of a token that comes of merging is minus its place among those; of the other tokens,
  /// which are never asked for theirs, less than all of them. Scores say less than a list: every pair
  /// of tokens whose union is a token is merged. A list for which that is not so is refused.
  func scores(
    _ merges: [(left: String, right: String)], _ source: GGUFTokenizerSource
  ) throws(CheckpointError) -> [Float] {
    var places: [Int: Int] = [:]
    var last = -1
    for (left, right) in merges {
      guard let id = id(of: left + right) else {
        throw .mismatch(
          path: source.path, what: "the merge \(quoted(left)) \(quoted(right))",
          expected: "one whose union is a token", actual: quoted(left + right))
      }
      if id != last {
        guard places.updateValue(places.count, forKey: id) == nil else {
          throw notByScores(source, "token \(quoted(left + right)) comes of it at two places")
        }
      }
      last = id
    }
    // Single precision numbers whole numbers up to 2^24.
    let scores = tokens.indices.map { Float(-(places[$0] ?? places.count + $0)) }
    let implied = SentencePieceMerges(
      tokens: tokens, isNormal: types.map { $0 == .normal }, ids: ids, scores: scores)
    func key(_ pair: (left: String, right: String)) -> UTF8Key {
      UTF8Key("\(pair.left.utf8.count) \(pair.left)\(pair.right)")
    }
    let listed = Set(merges.map(key))
    if let extra = implied.pairs.first(where: { !listed.contains(key($0)) }) {
      throw notByScores(source, "\(quoted(extra.left)) and \(quoted(extra.right)) are not in it")
    }
    guard implied.pairs.count == listed.count else {
      throw notByScores(source, "it merges tokens that are special or longer than 512 characters")
    }
    return scores
  }

  private func notByScores(_ source: GGUFTokenizerSource, _ reason: String) -> CheckpointError {
    source.unsupported(
      "a list of merges that scores of tokens cannot say (\(reason))",
      ["SentencePiece's own, which merges every two tokens whose union is a token"])
  }
}
