/// Distributes sizes over rows of a capacity: each, in the given order, goes to the fullest row
/// that has room, or starts a row.
///
/// With sizes that do not increase this is best-fit decreasing, which needs at most 11/9 of the
/// smallest possible number of rows plus one (Johnson et al., "Worst-case performance bounds for
/// simple one-dimensional packing algorithms", 1974). Among rows with the same room the one that
/// was changed last is taken. A size above the capacity gets a row of its own.
///
/// - Parameters:
///   - sizes: Positive sizes.
///   - capacity: The size of a row, positive.
/// - Returns: Indices into `sizes` for each row.
/// - Complexity: O(n * capacity / 64).
func packBestFit(_ sizes: [Int], into capacity: Int) -> [[Int]] {
  precondition(capacity > 0, "packBestFit: the capacity must be positive, found \(capacity)")
  var rows: [[Int]] = []
  var rowsByRoom = [[Int]](repeating: [], count: capacity + 1)
  // One bit for each room that some row has, so that the next larger one is found by words.
  var rooms = [UInt64](repeating: 0, count: capacity / 64 + 1)
  for (index, size) in sizes.enumerated() {
    precondition(size > 0, "packBestFit: sizes must be positive, found \(size)")
    let row: Int
    let left: Int
    if size <= capacity, let room = firstBit(in: rooms, from: size),
      let found = rowsByRoom[room].popLast()
    {
      if rowsByRoom[room].isEmpty { rooms[room / 64] &= ~(1 << UInt64(room % 64)) }
      row = found
      left = room - size
      rows[row].append(index)
    } else {
      row = rows.count
      left = max(0, capacity - size)
      rows.append([index])
    }
    rowsByRoom[left].append(row)
    rooms[left / 64] |= 1 << UInt64(left % 64)
  }
  return rows
}

/// The first set bit at or after a position.
private func firstBit(in words: [UInt64], from position: Int) -> Int? {
  var index = position / 64
  guard index < words.count else { return nil }
  var word = words[index] & (UInt64.max << UInt64(position % 64))
  while word == 0 {
    index += 1
    guard index < words.count else { return nil }
    word = words[index]
  }
  return index * 64 + word.trailingZeroBitCount
}
