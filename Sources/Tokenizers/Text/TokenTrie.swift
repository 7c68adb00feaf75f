/// Finds the leftmost, then longest of many byte strings in a text.
struct TokenTrie: Sendable {
  private struct Node: Sendable {
    var edges: [(byte: UInt8, node: Int32)] = []
    var value: Int32 = -1
  }

  private var nodes: [Node] = [Node()]
  /// The child of the root for each first byte, or 0.
  private var roots = [Int32](repeating: 0, count: 256)

  var isEmpty: Bool { nodes.count == 1 }

  /// Adds a byte string that is not empty; of equal strings the first keeps its value.
  mutating func insert(_ key: [UInt8], value: Int) {
    guard !key.isEmpty else { return }
    var node = 0
    for byte in key {
      if let edge = nodes[node].edges.first(where: { $0.byte == byte }) {
        node = Int(edge.node)
      } else {
        nodes.append(Node())
        nodes[node].edges.append((byte, Int32(nodes.count - 1)))
        if node == 0 { roots[Int(byte)] = Int32(nodes.count - 1) }
        node = nodes.count - 1
      }
    }
    if nodes[node].value < 0 { nodes[node].value = Int32(value) }
  }

  /// The first match at or after `start`: its bounds and its value.
  func firstMatch(
    in text: UnsafeBufferPointer<UInt8>, from start: Int
  ) -> (start: Int, end: Int, value: Int)? {
    if isEmpty { return nil }
    return roots.withUnsafeBufferPointer { roots in
      for index in start..<text.count where roots[Int(text[index])] != 0 {
        if let match = longestMatch(in: text, at: index, node: Int(roots[Int(text[index])])) {
          return (index, match.end, match.value)
        }
      }
      return nil
    }
  }

  private func longestMatch(
    in text: UnsafeBufferPointer<UInt8>, at start: Int, node: Int
  ) -> (end: Int, value: Int)? {
    var node = node
    var index = start + 1
    var best: (end: Int, value: Int)?
    while true {
      if nodes[node].value >= 0 { best = (index, Int(nodes[node].value)) }
      guard index < text.count,
        let edge = nodes[node].edges.first(where: { $0.byte == text[index] })
      else { return best }
      node = Int(edge.node)
      index += 1
    }
  }
}
