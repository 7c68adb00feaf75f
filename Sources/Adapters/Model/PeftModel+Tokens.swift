import Layers
import Models
import Tensors

/// Trained rows of embedding tables.
extension PeftModel {
  /// Lets heads that have the numbers of a merged table share it again.
  func tieAgain() {
    for (_, module) in base.modules() {
      guard let table = (module as? Embedding)?.table as? DenseTable else { continue }
      for case let head as Linear in base.modules().map(\.module) {
        if let own = head.projection as? DenseProjection,
          own.weight.value.dtype == table.weight.value.dtype,
          own.weight.value.isEqual(to: table.weight.value)
        {
          own.weight = table.weight
        }
      }
    }
  }

  /// Checks that virtual tokens and trained rows of some adapters can act together.
  func checkTogether(_ chosen: [PlacedAdapter], trainable: Bool) throws(AdapterError) {
    let prompts = chosen.filter { $0.prompt != nil }.map(\.name)
    guard prompts.count < 2 else {
      throw .conflict(
        "\(prompts.joined(separator: " and ")) both put virtual tokens before rows; only one can act"
      )
    }
    if trainable, let fixed = chosen.first(where: { $0.prompt?.fixed != nil }) {
      throw .impossible(
        method: type(of: fixed.configuration).type,
        what:
          "trained further without \(companionName) beside the file, as PEFT does not save what "
          + "makes the virtual tokens")
    }
    var owners: [String: [Int: String]] = [:]
    for adapter in chosen {
      for (path, rows) in adapter.tokens.sorted(by: { $0.key < $1.key }) {
        let known = owners[path] ?? [:]
        if let row = rows.filter({ known[$0] != nil }).min(), let other = known[row] {
          throw .conflict("\(other) and \(adapter.name) both train token \(row) of \(path)")
        }
        owners[path] = known.merging(rows.map { ($0, adapter.name) }) { $1 }
      }
    }
  }
}
