import Foundation
import JSONValues

extension SentencePieceModel {
  private static let space = "\u{2581}"

  /// The sections of a tokenizer.json that does what SentencePiece does.
  ///
  /// Whether special tokens belong around a text, the file does not say; `tokenizer_config.json` does.
  ///
  /// - Parameters:
  ///   - addsBegin: Whether the token that begins a text is put before it.
  ///   - addsEnd: Whether the token that ends a text is put behind it.
  /// - Returns: What tokenizer.json would hold.
  /// - Throws: `TokenizerError` for models of words or characters, and for spaces marked behind words.
  func tokenizerJSON(addsBegin: Bool, addsEnd: Bool) throws(TokenizerError) -> JSON {
    guard !marksSpaceBehind, escapesSpaces else {
      throw problem(
        "the normalizer", "spaces that are marked behind words, or not at all, are not supported")
    }
    let model: JSON
    switch algorithm {
    case .unigram: model = try unigramModel()
    case .bytePair: model = try bytePairModel()
    case .word, .character:
      throw problem("the trainer", "a model of \(algorithm)s is not supported; BPE and unigram are")
    }
    return [
      "version": "1.0", "added_tokens": .array(addedTokens), "normalizer": normalizer,
      "pre_tokenizer": nil, "post_processor": postProcessor(addsBegin, addsEnd),
      "decoder": decoder, "model": model,
    ]
  }

  private var addedTokens: [JSON] {
    pieces.enumerated().compactMap { id, piece in
      guard [.unknown, .control, .userDefined].contains(piece.kind) else { return nil }
      return [
        "id": .integer(id), "content": .string(piece.text), "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false,
        "special": .bool(piece.kind != .userDefined),
      ]
    }
  }

  private var normalizer: JSON {
    var steps: [JSON] = []
    if !charsMap.isEmpty {
      steps.append([
        "type": "Precompiled",
        "precompiled_charsmap": .string(Data(charsMap).base64EncodedString()),
      ])
    }
    if squeezesSpaces {
      steps.append(["type": "Replace", "pattern": ["Regex": #"\A +| +\z"#], "content": ""])
      steps.append(["type": "Replace", "pattern": ["Regex": " {2,}"], "content": " "])
    }
    if addsPrefix { steps.append(["type": "Prepend", "prepend": .string(Self.space)]) }
    steps.append([
      "type": "Replace", "pattern": ["String": " "], "content": .string(Self.space),
    ])
    return ["type": "Sequence", "normalizers": .array(steps)]
  }

  private var decoder: JSON {
    var steps: [JSON] = [
      ["type": "Replace", "pattern": ["String": .string(Self.space)], "content": " "],
      ["type": "ByteFallback"], ["type": "Fuse"],
    ]
    if addsPrefix { steps.append(["type": "Strip", "content": " ", "start": 1, "stop": 0]) }
    return ["type": "Sequence", "decoders": .array(steps)]
  }

  private func postProcessor(_ addsBegin: Bool, _ addsEnd: Bool) -> JSON {
    var defined = JSONObject()
    func special(_ id: Int, isWanted: Bool, typeID: Int) -> [JSON] {
      guard isWanted, pieces.indices.contains(id) else { return [] }
      let text = JSON.string(pieces[id].text)
      defined[pieces[id].text] = ["id": text, "ids": [.integer(id)], "tokens": [text]]
      return [["SpecialToken": ["id": text, "type_id": .integer(typeID)]]]
    }
    func template(_ name: JSON, _ typeID: Int) -> [JSON] {
      special(beginID, isWanted: addsBegin, typeID: typeID)
        + [["Sequence": ["id": name, "type_id": .integer(typeID)]]]
        + special(endID, isWanted: addsEnd, typeID: typeID)
    }
    let first = template("A", 0)
    let second = template("B", 1)
    return defined.count == 0
      ? .null
      : [
        "type": "TemplateProcessing", "single": .array(first), "pair": .array(first + second),
        "special_tokens": .object(defined),
      ]
  }

  private func unknownID() throws(TokenizerError) -> Int {
    guard let id = pieces.firstIndex(where: { $0.kind == .unknown }) else {
      throw problem("the pieces", "none of them is for what is unknown")
    }
    return id
  }

  private func unigramModel() throws(TokenizerError) -> JSON {
    let vocabulary = pieces.map { piece -> JSON in
      [.string(piece.text), .number(Double(piece.score))]
    }
    return [
      "type": "Unigram", "unk_id": .integer(try unknownID()), "vocab": .array(vocabulary),
      "byte_fallback": .bool(fallsBackToBytes),
    ]
  }

  private func bytePairModel() throws(TokenizerError) -> JSON {
    var vocabulary = JSONObject()
    for (id, piece) in pieces.enumerated() { vocabulary[piece.text] = .integer(id) }
    return [
      "type": "BPE", "unk_token": .string(pieces[try unknownID()].text), "fuse_unk": true,
      "byte_fallback": .bool(fallsBackToBytes), "vocab": .object(vocabulary),
      "merges": .array(merges()),
    ]
  }

  /// The merges that the scores imply: every way to cut a piece into two, best piece first.
  ///
  /// Ties: the longer left part first, then the longer right part, then the smaller id.
  private func merges() -> [JSON] {
    var merges = cuts { $0 == .normal }
    merges.sort {
      if $0.score != $1.score { return $0.score > $1.score }
      if $0.lengths != $1.lengths { return $0.lengths > $1.lengths }
      return $0.id < $1.id
    }
    return merges.map(\.json)
  }

  /// The merges for a tokenizer that knows pieces of the user's as added tokens too.
  ///
  /// Such pieces come first, by id, as SentencePiece takes them before all others; then the best piece
  /// first, of equally good ones the smaller id, of one piece the shorter left part.
  func mergesByRank() -> [JSON] {
    var merges = cuts { $0 == .normal || $0 == .userDefined }
    for index in merges.indices where pieces[merges[index].id].kind == .userDefined {
      merges[index].score = .infinity
    }
    merges.sort {
      if $0.score != $1.score { return $0.score > $1.score }
      if $0.id != $1.id { return $0.id < $1.id }
      return $0.lengths < $1.lengths
    }
    return merges.map(\.json)
  }

  /// Tokens for control and those of the user's.
  var controlTokens: [ListedToken] {
    pieces.filter { $0.kind == .control || $0.kind == .userDefined }.map { piece in
      var token = ListedToken(piece.text, isSpecial: piece.kind == .control)
      token.isNormalized = false
      return token
    }
  }

  private struct Merge {
    let left: ArraySlice<UInt8>
    let right: ArraySlice<UInt8>
    let lengths: (Int, Int)
    var score: Float
    let id: Int

    var json: JSON {
      [
        .string(String(decoding: left, as: UTF8.self)),
        .string(String(decoding: right, as: UTF8.self)),
      ]
    }
  }

  /// Every way to cut a piece into two pieces, all of the kinds that are wanted.
  private func cuts(_ isWanted: (Kind) -> Bool) -> [Merge] {
    var known = ByteTable(capacity: pieces.count)
    for piece in pieces where isWanted(piece.kind) {
      piece.text.withBytes { _ = known.insert($0) }
    }
    var merges: [Merge] = []
    for (id, piece) in pieces.enumerated() where isWanted(piece.kind) {
      let bytes = Array(piece.text.utf8)
      let count = piece.text.unicodeScalars.count
      guard (2...Self.longestPiece).contains(count) else { continue }
      bytes.withUnsafeBufferPointer { text in
        var cut = 0
        for length in 1..<count {
          cut += text.scalar(at: cut).width
          guard known.entry(of: text.slice(0, cut)) != nil,
            known.entry(of: text.slice(cut, text.count)) != nil
          else { continue }
          merges.append(
            Merge(
              left: bytes[..<cut], right: bytes[cut...], lengths: (length, count - length),
              score: piece.score, id: id))
        }
      }
    }
    return merges
  }

  /// The cuts of a hostile file's piece of megabytes would take quadratic time.
  private static let longestPiece = 512
}
