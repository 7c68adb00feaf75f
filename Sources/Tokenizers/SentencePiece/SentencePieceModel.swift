import Foundation

/// What a SentencePiece `.model` file holds.
///
/// Source: the message `ModelProto` of SentencePiece's sentencepiece_model.proto.
struct SentencePieceModel {
  /// What a piece is for.
  enum Kind: Int {
    case normal = 1
    case unknown, control, userDefined, unused, byte
  }

  struct Piece {
    var text = ""
    var score: Float = 0
    var kind = Kind.normal
  }

  /// How a text is cut into pieces.
  enum Algorithm: Int {
    case unigram = 1
    case bytePair, word, character
  }

  private(set) var pieces: [Piece] = []
  private(set) var algorithm = Algorithm.unigram
  private(set) var fallsBackToBytes = false
  private(set) var beginID = 1
  private(set) var endID = 2
  private(set) var padID = -1
  private(set) var marksSpaceBehind = false
  private(set) var charsMap: [UInt8] = []
  private(set) var addsPrefix = true
  private(set) var squeezesSpaces = true
  private(set) var escapesSpaces = true

  let file: String

  /// Reads a file's bytes.
  init(_ bytes: [UInt8], file: String) throws(TokenizerError) {
    self.file = file
    do throws(ProtocolBuffer.Malformed) {
      try read(bytes)
    } catch {
      throw .malformedComponent(
        file: file, component: "byte \(error.place)", problem: error.problem)
    }
    guard !pieces.isEmpty else { throw problem("the pieces", "there are none") }
    guard pieces.count <= Vocabulary.largestID else { throw problem("the pieces", "too many") }
  }

  func problem(_ component: String, _ problem: String) -> TokenizerError {
    .malformedComponent(file: file, component: component, problem: problem)
  }

  private mutating func read(_ bytes: [UInt8]) throws(ProtocolBuffer.Malformed) {
    try ProtocolBuffer(bytes[...]).forEachField { field, value throws(ProtocolBuffer.Malformed) in
      guard let slice = value.slice else { return }
      switch field {
      case 1: try readPiece(slice)
      case 2: try readTrainer(slice)
      case 3: try readNormalizer(slice)
      default: break
      }
    }
  }

  private mutating func readPiece(
    _ bytes: ArraySlice<UInt8>
  ) throws(ProtocolBuffer.Malformed) {
    var piece = Piece()
    try ProtocolBuffer(bytes).forEachField { field, value throws(ProtocolBuffer.Malformed) in
      switch field {
      case 1:
        guard let text = value.string else {
          throw .init(place: bytes.startIndex, problem: "a piece is no UTF-8")
        }
        piece.text = text
      case 2: piece.score = value.float ?? 0
      case 3:
        guard let kind = value.integer.flatMap({ Kind(rawValue: $0) }) else {
          throw .init(place: bytes.startIndex, problem: "a piece is of a kind that is not known")
        }
        piece.kind = kind
      default: break
      }
    }
    guard piece.score.isFinite else {
      throw .init(place: bytes.startIndex, problem: "a score is no number")
    }
    pieces.append(piece)
  }

  private mutating func readTrainer(
    _ bytes: ArraySlice<UInt8>
  ) throws(ProtocolBuffer.Malformed) {
    try ProtocolBuffer(bytes).forEachField { field, value throws(ProtocolBuffer.Malformed) in
      switch field {
      case 3:
        guard let algorithm = value.integer.flatMap({ Algorithm(rawValue: $0) }) else {
          throw .init(place: bytes.startIndex, problem: "the model is of a type that is not known")
        }
        self.algorithm = algorithm
      case 24: marksSpaceBehind = value.bool ?? false
      case 35: fallsBackToBytes = value.bool ?? false
      case 41: beginID = value.integer ?? beginID
      case 42: endID = value.integer ?? endID
      case 43: padID = value.integer ?? padID
      default: break
      }
    }
  }

  private mutating func readNormalizer(
    _ bytes: ArraySlice<UInt8>
  ) throws(ProtocolBuffer.Malformed) {
    try ProtocolBuffer(bytes).forEachField { field, value throws(ProtocolBuffer.Malformed) in
      switch field {
      case 2: charsMap = Array(value.slice ?? [])
      case 3: addsPrefix = value.bool ?? true
      case 4: squeezesSpaces = value.bool ?? true
      case 5: escapesSpaces = value.bool ?? true
      default: break
      }
    }
  }
}
