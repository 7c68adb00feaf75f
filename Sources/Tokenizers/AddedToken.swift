/// A token that is cut out of the text before the model sees it.
public struct AddedToken: Equatable, Sendable {
  /// The text of the token.
  public var content: String
  /// Whether the token is left out when decoding skips special tokens.
  public var isSpecial: Bool
  /// Whether the token matches only where no word character stands next to it.
  public var isSingleWord: Bool
  /// Whether the token takes white space before it.
  public var stripsLeft: Bool
  /// Whether the token takes white space after it.
  public var stripsRight: Bool
  /// Whether the token is searched in the normalized text.
  public var isNormalized: Bool

  /// Creates an added token.
  ///
  /// - Parameters:
  ///   - content: The text of the token.
  ///   - isSpecial: Whether decoding may leave it out.
  ///   - isSingleWord: Whether it matches only as a word of its own.
  ///   - stripsLeft: Whether it takes white space before it.
  ///   - stripsRight: Whether it takes white space after it.
  ///   - isNormalized: Whether it is searched in the normalized text.
  public init(
    content: String, isSpecial: Bool = false, isSingleWord: Bool = false,
    stripsLeft: Bool = false, stripsRight: Bool = false, isNormalized: Bool = true
  ) {
    self.content = content
    self.isSpecial = isSpecial
    self.isSingleWord = isSingleWord
    self.stripsLeft = stripsLeft
    self.stripsRight = stripsRight
    self.isNormalized = isNormalized
  }

  /// Compares two tokens, their texts by bytes.
  ///
  /// - Parameters:
  ///   - left: A token.
  ///   - right: Another token.
  /// - Returns: Whether all fields are equal.
  public static func == (left: AddedToken, right: AddedToken) -> Bool {
    left.content.utf8.elementsEqual(right.content.utf8)
      && left.isSpecial == right.isSpecial && left.isSingleWord == right.isSingleWord
      && left.stripsLeft == right.stripsLeft && left.stripsRight == right.stripsRight
      && left.isNormalized == right.isNormalized
  }

  init(_ component: ComponentReader) throws(TokenizerError) {
    content = try component.string("content")
    isSpecial = try component.bool("special", default: false)
    isSingleWord = try component.bool("single_word", default: false)
    stripsLeft = try component.bool("lstrip", default: false)
    stripsRight = try component.bool("rstrip", default: false)
    isNormalized = try component.bool("normalized", default: !isSpecial)
  }
}
