/// Numbers and texts among environment variables; an empty one is one that is not set.
struct VariableReader {
  private let variables: [String: String]

  init(_ variables: [String: String]) { self.variables = variables }

  func text(_ name: String) -> String? { variables[name].flatMap { $0.isEmpty ? nil : $0 } }

  func has(_ name: String) -> Bool { text(name) != nil }

  func number(_ name: String) throws(CollectiveError) -> Int? {
    guard let text = text(name) else { return nil }
    guard let number = Int(text), number >= 0 else {
      throw .environment("\(name) is '\(text)', expected a number from 0")
    }
    return number
  }

  func required(_ name: String) throws(CollectiveError) -> Int {
    guard let number = try number(name) else {
      throw .environment("several processes are asked for, but \(name) is not set")
    }
    return number
  }
}

/// Slurm's short ways to write lists.
enum SlurmLists {
  /// The first machine of a list such as `node[03-05,09],other`.
  static func firstHost(_ list: String) -> String? {
    guard let bracket = list.firstIndex(of: "["),
      !list[..<bracket].contains(",")
    else {
      return list.split(separator: ",").first.map(String.init)
    }
    let inside = list[list.index(after: bracket)...].prefix { $0 != "]" }
    guard let first = inside.split(whereSeparator: { $0 == "," || $0 == "-" }).first else {
      return nil
    }
    let tail = list[bracket...].drop(while: { $0 != "]" }).dropFirst()
    // Several brackets in one name: the first of each.
    return firstHost(String(list[..<bracket]) + String(first) + String(tail))
  }

  /// The numbers of a list such as `2(x3),1`; empty for what is none.
  static func counts(_ list: String) -> [Int] {
    var result: [Int] = []
    for part in list.split(separator: ",") {
      let pieces = part.split(separator: "(x")
      guard let count = pieces.first.flatMap({ Int($0) }) else { return [] }
      let times = pieces.count > 1 ? Int(pieces[1].dropLast()) : 1
      guard let times, times > 0, times < 1 << 20 else { return [] }
      result += Array(repeating: count, count: times)
    }
    return result
  }
}
