/// Parts under a common name, which computes nothing itself.
public final class ModuleGroup: Module {
  /// The parts, in the order of the model.
  public let children: [(name: String, module: any Module)]

  /// Makes a group.
  ///
  /// - Parameter parts: Modules by their paths below the group; what stands before a dot becomes a
  ///   group of its own.
  public init(_ parts: [(name: String, module: any Module)]) {
    var names: [String] = []
    var found: [String: [(name: String, module: any Module)]] = [:]
    for (path, module) in parts {
      let pieces = path.split(separator: ".", maxSplits: 1).map(String.init)
      if found[pieces[0]] == nil { names.append(pieces[0]) }
      found[pieces[0], default: []].append((pieces.count > 1 ? pieces[1] : "", module))
    }
    children = names.map { name in
      let inner = found[name] ?? []
      return (
        name, inner.count == 1 && inner[0].name.isEmpty ? inner[0].module : ModuleGroup(inner)
      )
    }
  }
}
