import Adapters
import JSONValues
import Models

/// The layers of a model that can be adapted, those of one name and shape together.
struct TargetListing {
  private struct Group {
    let name: String
    let shape: [Int]
    var count: Int
    let isOutputHead: Bool
    var parametersPerRank: Int { count * shape.reduce(0, +) }
  }

  private var groups: [Group] = []
  private let defaults: [String]?

  init(_ directory: String) throws {
    let model = try StoredModels.open(directory, dtype: nil)
    for layer in AdaptableLayer.all(in: model) {
      let name = String(layer.path.split(separator: ".").last ?? "")
      if let found = groups.firstIndex(where: { $0.name == name && $0.shape == layer.shape }) {
        groups[found].count += 1
      } else {
        groups.append(
          Group(name: name, shape: layer.shape, count: 1, isOutputHead: layer.isOutputHead))
      }
    }
    let found = LoRAConfig.defaultTargets(modelType: model.modelType)
    if case .names(let names) = found { defaults = names } else { defaults = nil }
  }

  /// Numbers that a LoRA on some layers trains for each of its ranks.
  private func parametersPerRank(_ isMeant: (Group) -> Bool) -> Int {
    groups.filter(isMeant).reduce(0) { $0 + $1.parametersPerRank }
  }

  private var summaries: [(name: String, parametersPerRank: Int)] {
    let named = defaults.map { names in
      [
        (
          "default (\(names.joined(separator: ",")))",
          parametersPerRank { names.contains($0.name) }
        )
      ]
    }
    return (named ?? []) + [("all-linear", parametersPerRank { !$0.isOutputHead })]
  }

  /// A table for people.
  var text: String {
    let rows =
      groups.map { group in
        [
          group.name, "\(group.count)", "\(group.shape[0]) x \(group.shape[1])",
          "\(group.parametersPerRank)", group.isOutputHead ? "output head" : "",
        ]
      } + summaries.map { [$0.name, "", "", "\($0.parametersPerRank)", ""] }
    let table = [["target", "layers", "shape", "LoRA parameters per rank", ""]] + rows
    let widths = (0..<5).map { column in table.map { $0[column].count }.max() ?? 0 }
    return table.map { row in
      let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
      var line = "  " + cells.joined(separator: "  ")
      while line.hasSuffix(" ") { line.removeLast() }
      return line + "\n"
    }.joined()
  }

  /// The same for programs.
  var json: JSON {
    .object(
      JSONObject([
        (
          "modules",
          .array(
            groups.map { group in
              [
                "name": .string(group.name), "layers": .integer(group.count),
                "shape": .array(group.shape.map(JSON.integer)),
                "parameters_per_rank": .integer(group.parametersPerRank),
                "output_head": .bool(group.isOutputHead),
              ]
            })
        ),
        ("default", defaults.map { .array($0.map(JSON.string)) } ?? .null),
        (
          "parameters_per_rank",
          .object(
            JSONObject(
              summaries.map {
                ($0.name.hasPrefix("default") ? "default" : $0.name, .integer($0.parametersPerRank))
              }))
        ),
      ]))
  }
}
