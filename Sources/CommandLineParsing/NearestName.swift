/// Returns the name that a misspelt one probably stands for.
///
/// Insertions, deletions, substitutions and swaps of neighbours count one each (the optimal string
/// alignment distance). A name is near when at most a third of the longer one differs; failing
/// that, the first candidate that the misspelt name abbreviates is taken.
/// - Parameters:
///   - name: The name as the user wrote it.
///   - candidates: The names that exist.
/// - Returns: The nearest candidate, the first among equals, or nil if nothing is near.
public func nearestName(_ name: String, among candidates: [String]) -> String? {
  let written = Array(name.utf8)
  var best: (name: String, distance: Int)?
  for candidate in candidates {
    let other = Array(candidate.utf8)
    let longer = max(written.count, other.count)
    let distance = editDistance(written, other)
    guard distance <= max(1, longer / 3), distance < longer else { continue }
    if best.map({ distance < $0.distance }) ?? true { best = (candidate, distance) }
  }
  if let best { return best.name }
  guard written.count >= 3 else { return nil }
  return candidates.first { $0.utf8.starts(with: written) }
}

/// Returns the optimal string alignment distance of two byte strings.
private func editDistance(_ first: [UInt8], _ second: [UInt8]) -> Int {
  var beforeLast: [Int] = []
  var last = Array(0...second.count)
  for i in 0..<first.count {
    var row = [i + 1]
    for j in 0..<second.count {
      let substitution = last[j] + (first[i] == second[j] ? 0 : 1)
      var cost = min(substitution, last[j + 1] + 1, row[j] + 1)
      if i > 0, j > 0, first[i] == second[j - 1], first[i - 1] == second[j] {
        cost = min(cost, beforeLast[j - 1] + 1)
      }
      row.append(cost)
    }
    (beforeLast, last) = (last, row)
  }
  return last[second.count]
}
