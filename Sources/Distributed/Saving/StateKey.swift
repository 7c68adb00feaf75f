/// The name of a state: the parameter's, possibly the first element of a slice, and what it is.
///
/// For example `layers.0.weight.exp_avg`, or `layers.0.weight@512.exp_avg` for elements from 512 on of the
/// flattened parameter.
struct StateKey {
  let parameter: String
  /// First element of a slice; nil for a whole parameter.
  let start: Int?
  let kind: String

  /// Reads a name.
  ///
  /// - Parameters:
  ///   - name: The name.
  ///   - isSliced: Whether `@` and a number behind the parameter's name are a slice's first element.
  init(_ name: String, isSliced: Bool) {
    let dot = name.lastIndex(of: ".")
    kind = dot.map { String(name[name.index(after: $0)...]) } ?? name
    let head = dot.map { String(name[..<$0]) } ?? ""
    if isSliced, let at = head.lastIndex(of: "@"),
      let number = Int(head[head.index(after: at)...]), number >= 0
    {
      parameter = String(head[..<at])
      start = number
    } else {
      parameter = head
      start = nil
    }
  }

  var wholeName: String { parameter.isEmpty ? kind : "\(parameter).\(kind)" }
  /// Whether all slices have the same: counts of steps, lengths of whole directions, tables of codes.
  var isShared: Bool { kind == "step" || kind == "unorm_vec" || kind.hasPrefix("qmap") }
  /// Elements of the parameter for each number: a block for magnitudes of codes.
  var unit: Int { kind.hasPrefix("absmax") ? FlatBuckets.alignment : 1 }

  /// Numbers in a row for so many elements.
  func width(_ elements: Int) -> Int { (elements + unit - 1) / unit }
}
