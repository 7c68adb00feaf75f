import Foundation
import JSONValues

/// The classes that read a SentencePiece model.
extension TokenizerClassSections {
  /// The classes that read a SentencePiece model.
  func pieces(of model: SentencePieceModel) throws(TokenizerError) -> JSON {
    kind == .gemma || kind == .llama ? try mergedPieces(model) : try scoredPieces(model)
  }

  private func mergedPieces(_ model: SentencePieceModel) throws(TokenizerError) -> JSON {
    let vocabulary = TokenIDs(places: model.pieces.map(\.text))
    var decoders: [JSON] = [
      ["type": "Replace", "pattern": ["String": .string(Self.space)], "content": " "],
      ["type": "ByteFallback"], ["type": "Fuse"],
    ]
    let addsSpace = tokens.flag("add_prefix_space") ?? true
    if kind == .llama, addsSpace {
      decoders.append(["type": "Strip", "content": " ", "start": 1, "stop": 0])
    }
    let scheme: JSON =
      addsSpace ? (tokens.flag("legacy") ?? false ? "always" : "first") : "never"
    return try document(
      [
        "type": "BPE",
        "unk_token": kind == .gemma ? .string(tokens.special("unk_token")) : .null,
        "fuse_unk": true, "byte_fallback": true, "vocab": .object(vocabulary.json),
        "merges": .array(model.mergesByRank()),
      ],
      normalizer: kind == .llama
        ? .null
        : ["type": "Replace", "pattern": ["String": " "], "content": .string(Self.space)],
      preTokenizer: kind == .llama
        ? [
          "type": "Metaspace", "replacement": .string(Self.space), "prepend_scheme": scheme,
          "split": false,
        ]
        : [
          "type": "Split", "pattern": ["String": " "], "behavior": "MergedWithPrevious",
          "invert": false,
        ],
      decoder: ["type": "Sequence", "decoders": .array(decoders)],
      template: textFrame(addsBegin: true),
      tokens.added(to: vocabulary, own: model.controlTokens), vocabulary)
  }

  private func scoredPieces(_ model: SentencePieceModel) throws(TokenizerError) -> JSON {
    guard model.algorithm == .unigram else {
      throw model.problem("the trainer", "\(kind.rawValue) needs a unigram model, found another")
    }
    var pieces = model.pieces.map { ($0.text, Double($0.score)) }
    var own = model.controlTokens
    var unknown = 3
    func special(_ name: String) -> (String, Double) { (tokens.special(name), 0) }
    switch kind {
    case .xlmRoberta:
      // The ids of fairseq: its own special tokens come first.
      pieces =
        [special("bos_token"), special("pad_token"), special("eos_token"), special("unk_token")]
        + pieces.dropFirst(3) + [special("mask_token")]
    case .camembert:
      pieces =
        [
          ("<s>NOTUSED", 0), special("pad_token"), ("</s>NOTUSED", 0), special("unk_token"),
          ("<unk>NOTUSED", -100),
        ] + pieces.dropFirst() + [special("mask_token")]
      let text = tokens.special("unk_token")
      unknown = pieces.firstIndex { $0.0.utf8.elementsEqual(text.utf8) } ?? 0
    case .t5:
      let count = tokens.fields["extra_ids"]?.intValue ?? 100
      guard (0...Self.mostExtraTokens).contains(count) else {
        throw model.problem("extra_ids", "is \(count), expected 0 to \(Self.mostExtraTokens)")
      }
      let extra = (0..<count).map { "<extra_id_\($0)>" }
      pieces += extra.reversed().map { ($0, 0) }
      own += extra.map { ListedToken($0) }
      unknown = 2
    default: unknown = 1
    }
    let vocabulary = TokenIDs(places: pieces.map(\.0))
    let scheme: JSON =
      kind == .t5 || tokens.flag("add_prefix_space") ?? true ? "always" : "never"
    func metaspace() -> JSON {
      [
        "type": "Metaspace", "replacement": .string(Self.space), "prepend_scheme": scheme,
        "split": true,
      ]
    }
    return try document(
      [
        "type": "Unigram", "unk_id": .integer(unknown), "byte_fallback": false,
        "vocab": .array(pieces.map { [.string($0.0), .number($0.1)] }),
      ],
      normalizer: normalizer(of: model),
      preTokenizer: [
        "type": "Sequence", "pretokenizers": [["type": "WhitespaceSplit"], metaspace()],
      ],
      decoder: metaspace(), template: pieceFrame, tokens.added(to: vocabulary, own: own),
      vocabulary)
  }

  private func normalizer(of model: SentencePieceModel) -> JSON {
    var steps: [JSON] = []
    if kind == .albert {
      for mark in ["``", "''"] {
        steps.append(["type": "Replace", "pattern": ["String": .string(mark)], "content": "\""])
      }
      if tokens.flag("keep_accents") != true {
        steps += [["type": "NFKD"], ["type": "StripAccents"]]
      }
      if tokens.flag("do_lower_case") ?? true { steps.append(["type": "Lowercase"]) }
    }
    if !model.charsMap.isEmpty {
      steps.append([
        "type": "Precompiled",
        "precompiled_charsmap": .string(Data(model.charsMap).base64EncodedString()),
      ])
    }
    return steps.isEmpty ? .null : ["type": "Sequence", "normalizers": .array(steps)]
  }
}
