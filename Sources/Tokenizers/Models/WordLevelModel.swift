/// Every word is a token of its own, or the unknown one.
///
/// Where the reference fails because it needs the unknown token and has none, the word vanishes here.
struct WordLevelModel: TokenModel {
  let vocabulary: Vocabulary
  private let unknownID: Int32?

  var cachesWords: Bool { false }

  init(_ component: ComponentReader) throws(TokenizerError) {
    vocabulary = try Vocabulary(component.required("vocab"))
    unknownID = vocabulary.id(of: try component.string("unk_token")).map { Int32($0) }
  }

  func encode(word: UnsafeBufferPointer<UInt8>, with workspace: EncodingWorkspace) {
    guard let id = vocabulary.id(of: word).map({ Int32($0) }) ?? unknownID else { return }
    workspace.ids.append(id)
    if workspace.measures { workspace.ranges.append(TokenRange(0, word.count)) }
  }
}
