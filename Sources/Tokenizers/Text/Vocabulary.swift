import JSONValues

/// Tokens and their ids, both ways; tokens are compared by their bytes.
struct Vocabulary: Sendable {
  /// The largest id that is accepted: a wild id in a file must not allocate gigabytes.
  static let largestID = 1 << 24

  private var table: ByteTable
  private var ids: [Int32] = []
  /// The entry of each id, or -1.
  private var entries: [Int32] = []

  init(capacity: Int = 0) {
    table = ByteTable(capacity: capacity)
    ids.reserveCapacity(capacity)
    entries.reserveCapacity(capacity)
  }

  /// Reads an object of tokens and ids.
  init(_ component: ComponentReader) throws(TokenizerError) {
    let object = try component.objectValue()
    self.init(capacity: object.count)
    for (token, value) in object {
      guard let id = value.intValue, id >= 0, id <= Self.largestID else {
        throw component.problem(
          "the token \"\(token)\" has the id \(value.serialized()), "
            + "expected an integer from 0 to \(Self.largestID)")
      }
      insert(token, id: id)
    }
  }

  /// The number of tokens.
  var count: Int { table.count }

  /// One more than the largest id.
  var upperBound: Int { entries.count }

  /// The number of bytes of the longest token.
  var longestToken: Int { (0..<table.count).reduce(0) { max($0, table.bytes(of: $1).count) } }

  /// The id of `<0xXX>` for each byte, or -1.
  var byteFallbackIDs: [Int32] {
    (0..<256).map { byte in
      let digits = String(byte, radix: 16, uppercase: true)
      return Int32(id(of: "<0x" + (byte < 16 ? "0" : "") + digits + ">") ?? -1)
    }
  }

  /// Adds a token or gives it another id.
  mutating func insert(_ token: String, id: Int) {
    let (entry, isNew) = token.withBytes { table.insert($0) }
    if isNew { ids.append(Int32(id)) } else { ids[entry] = Int32(id) }
    while entries.count <= id { entries.append(-1) }
    entries[id] = Int32(entry)
  }

  func id(of token: UnsafeBufferPointer<UInt8>) -> Int? {
    table.entry(of: token).map { Int(ids[$0]) }
  }

  func id(of token: String) -> Int? { token.withBytes { id(of: $0) } }

  /// The UTF-8 bytes of the token with that id, or nil when there is none.
  func bytes(of id: Int) -> ArraySlice<UInt8>? {
    entry(of: id).map { table.bytes(of: $0) }
  }

  /// Calls `body` with the UTF-8 bytes of the token with that id; nil when there is none.
  func withBytes<Result>(
    of id: Int, _ body: (UnsafeBufferPointer<UInt8>) -> Result
  ) -> Result? {
    entry(of: id).map { table.withBytes(of: $0, body) }
  }

  private func entry(of id: Int) -> Int? {
    guard id >= 0, id < entries.count, entries[id] >= 0 else { return nil }
    return Int(entries[id])
  }
}
