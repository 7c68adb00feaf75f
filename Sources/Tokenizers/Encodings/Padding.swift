import JSONValues

/// How encodings are filled to a common length.
public struct Padding: Equatable, Sendable {
  /// To which length encodings are filled.
  public enum Strategy: Equatable, Sendable {
    /// That of the longest one of the batch.
    case longest
    /// A fixed one; what is longer stays.
    case fixed(Int)
  }

  /// To which length encodings are filled.
  public var strategy: Strategy
  /// At which end they are filled.
  public var direction: Truncation.Direction
  /// The length is rounded up to a multiple of this.
  public var multiple: Int?
  /// The id that is filled in.
  public var id: Int
  /// Its type id.
  public var typeID: Int
  /// Its token.
  public var token: String

  /// Creates a rule.
  ///
  /// - Parameters:
  ///   - strategy: To which length encodings are filled.
  ///   - direction: At which end they are filled.
  ///   - multiple: The length is rounded up to a multiple of this.
  ///   - id: The id that is filled in.
  ///   - typeID: Its type id.
  ///   - token: Its token.
  public init(
    strategy: Strategy = .longest, direction: Truncation.Direction = .right, multiple: Int? = nil,
    id: Int = 0, typeID: Int = 0, token: String = "[PAD]"
  ) {
    self.strategy = strategy
    self.direction = direction
    self.multiple = multiple
    self.id = id
    self.typeID = typeID
    self.token = token
  }

  /// The largest length that is accepted in a file: a wild number must not allocate gigabytes.
  private static let largestLength = 1 << 20

  /// Reads the member `padding` of tokenizer.json.
  init(_ component: ComponentReader) throws(TokenizerError) {
    let reader = try component.required("strategy")
    if reader.json.stringValue == "BatchLongest" {
      strategy = .longest
    } else {
      strategy = .fixed(try reader.required("Fixed").count(limit: Self.largestLength))
    }
    direction = try component.choice("direction", Truncation.Direction.self)
    multiple = try component.optional("pad_to_multiple_of")?.count(limit: Self.largestLength)
    id = try component.required("pad_id").count()
    typeID = try component.required("pad_type_id").count()
    token = try component.string("pad_token")
  }

  /// Fills a batch.
  func apply(to encodings: inout [Encoding]) {
    var length: Int
    switch strategy {
    case .fixed(let size): length = size
    case .longest: length = encodings.reduce(0) { max($0, $1.count) }
    }
    if let multiple, multiple > 0, length % multiple > 0 { length += multiple - length % multiple }
    for index in encodings.indices { fill(&encodings[index], to: length) }
  }

  private func fill(_ encoding: inout Encoding, to length: Int) {
    for index in encoding.overflowing.indices { fill(&encoding.overflowing[index], to: length) }
    let missing = length - encoding.count
    guard missing > 0 else { return }
    var filling = Encoding()
    filling.reserveCapacity(missing)
    for _ in 0..<missing {
      filling.append(
        id: id, token: token, offsets: .init(0, 0), wordID: nil, typeID: typeID, isSpecial: true)
    }
    filling.attentionMask = [Bool](repeating: false, count: missing)
    let overflowing = encoding.overflowing
    encoding.overflowing = []
    let ranges = encoding.sequenceRanges
    switch direction {
    case .left:
      filling.append(encoding)
      encoding = filling
    case .right:
      encoding.append(filling)
      encoding.sequenceRanges = ranges
    }
    encoding.overflowing = overflowing
  }
}
