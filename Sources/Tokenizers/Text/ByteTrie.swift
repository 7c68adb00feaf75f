/// Finds all of many byte strings with which a text goes on at some place.
struct ByteTrie: Sendable {
  private struct Edge: Sendable {
    /// The parent node times 256 plus the byte, plus 1; 0 for an empty slot.
    var key: UInt64 = 0
    var node: Int32 = 0
    /// The value of the string that ends in the node, or -1.
    var value: Int32 = -1
  }

  /// Open addressing.
  private var edges: [Edge]
  private var count = 0
  private var nodeCount: Int32 = 1

  init(capacity: Int) {
    var size = 16
    while size < capacity * 2 { size *= 2 }
    edges = [Edge](repeating: Edge(), count: size)
  }

  /// Adds a byte string that is not empty; a later value replaces an earlier one.
  mutating func insert(_ key: UnsafeBufferPointer<UInt8>, value: Int32) {
    var node: Int32 = 0
    for (index, byte) in key.enumerated() {
      var slot = slot(node, byte)
      if edges[slot].key == 0 {
        if count * 2 >= edges.count {
          grow()
          slot = self.slot(node, byte)
        }
        edges[slot] = Edge(key: Self.key(node, byte), node: nodeCount)
        nodeCount += 1
        count += 1
      }
      if index == key.count - 1 { edges[slot].value = value }
      node = edges[slot].node
    }
  }

  /// Calls `body` with the value and the end of every string that begins at `start`.
  @inline(__always)
  func forEachPrefix(
    of text: UnsafeBufferPointer<UInt8>, from start: Int,
    _ body: (_ value: Int32, _ end: Int) -> Void
  ) {
    edges.withUnsafeBufferPointer { edges in
      let mask = edges.count - 1
      var node: Int32 = 0
      var index = start
      while index < text.count {
        let key = Self.key(node, text[index])
        var slot = Self.hash(key) & mask
        while edges[slot].key != key {
          if edges[slot].key == 0 { return }
          slot = (slot + 1) & mask
        }
        index += 1
        if edges[slot].value >= 0 { body(edges[slot].value, index) }
        node = edges[slot].node
      }
    }
  }

  @inline(__always)
  private static func key(_ node: Int32, _ byte: UInt8) -> UInt64 {
    (UInt64(UInt32(bitPattern: node)) << 8 | UInt64(byte)) + 1
  }

  @inline(__always)
  private static func hash(_ key: UInt64) -> Int {
    let product = key &* 0x9E37_79B9_7F4A_7C15
    return Int(truncatingIfNeeded: (product ^ product >> 32) >> 1)
  }

  private func slot(_ node: Int32, _ byte: UInt8) -> Int {
    let key = Self.key(node, byte)
    let mask = edges.count - 1
    var slot = Self.hash(key) & mask
    while edges[slot].key != key && edges[slot].key != 0 { slot = (slot + 1) & mask }
    return slot
  }

  private mutating func grow() {
    let old = edges
    edges = [Edge](repeating: Edge(), count: old.count * 2)
    let mask = edges.count - 1
    for edge in old where edge.key != 0 {
      var slot = Self.hash(edge.key) & mask
      while edges[slot].key != 0 { slot = (slot + 1) & mask }
      edges[slot] = edge
    }
  }
}
